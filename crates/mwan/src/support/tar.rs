//! An archive of regular files as every `tar` reads it: ustar (POSIX.1-1988), written only, names of at most 100 bytes.

use std::io::{self, ErrorKind};

const BLOCK: usize = 512;
/// `name` of the header, bytes.
const NAME_MAX: usize = 100;

/// Files and when they were made.
#[derive(Debug)]
pub(super) struct Tar {
    bytes: Vec<u8>,
    /// Seconds since 1970.
    time_s: u64,
}

impl Tar {
    pub(super) fn new(time_s: u64) -> Self {
        Tar { bytes: Vec::new(), time_s }
    }

    /// Adds a file that only its owner may read.
    ///
    /// # Errors
    /// Its name is longer than the format can hold.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        if name.len() > NAME_MAX {
            return Err(io::Error::new(ErrorKind::InvalidInput, format!("{name}: the name is too long")));
        }
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        // Mode, user, group: octal digits.
        put(100, b"0000600\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        put(136, format!("{:011o}\0", self.time_s).as_bytes());
        // The sum is made with blanks in its place.
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(content);
        self.pad(BLOCK);
        Ok(())
    }

    /// The whole archive: two empty blocks end it, and GNU tar wants records of twenty.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.pad(20 * BLOCK);
        self.bytes
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Read by somebody else's program.
    #[test]
    fn tar_reads_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut tar = Tar::new(1_764_000_000);
        let long = vec![b'x'; 1000];
        for (name, content) in [("a/one", &b"1\n"[..]), ("a/empty", b""), ("a/b/long", &long)] {
            tar.add(name, content).unwrap();
        }
        assert!(tar.add(&"n".repeat(101), b"").is_err());
        let file = dir.path().join("x.tar");
        std::fs::write(&file, tar.finish()).unwrap();
        let output = std::process::Command::new("tar")
            .args(["--warning=all", "-xvf"])
            .arg(&file)
            .arg("-C")
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert_eq!(output.stdout, b"a/one\na/empty\na/b/long\n");
        assert_eq!(std::fs::read(dir.path().join("a/one")).unwrap(), b"1\n");
        assert_eq!(std::fs::read(dir.path().join("a/b/long")).unwrap(), long);
        let time = std::fs::metadata(dir.path().join("a/empty")).unwrap().modified().unwrap();
        assert_eq!(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_764_000_000);
    }
}
