//! The file of users, tokens and the set-up link: `accounts.json`, 0600, read by the web process and changed by it and by
//! `mwan web`. A change is a whole new file, under a lock: what is used once cannot be used twice.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::secret::{digest, hex, same};
use super::{Role, password};
use crate::files;

const FILE: &str = "accounts.json";
const LOCK: &str = "accounts.lock";
/// What we have in our folder.
pub(crate) const FILES: [&str; 2] = [FILE, LOCK];
/// A file that is larger is none of ours.
const FILE_MAX: u64 = 1 << 20;
/// More than a router's owners are; keeps the file small.
const ENTRIES_MAX: usize = 100;
const NAME_MAX: usize = 64;
const VERSION: u32 = 1;

/// Why accounts could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The file cannot be read, written or locked.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} is not a file of accounts: {why}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Not what can be done.
    #[error("{0}")]
    Refused(String),
}

/// Somebody with a password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// His name.
    pub name: String,
    /// What he may do.
    pub role: Role,
    /// argon2id, as a PHC string.
    hash: String,
}

/// A program's key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Token {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Of the whole token, hexadecimal.
    sha256: String,
}

/// A link that sets a password once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Setup {
    user: String,
    sha256: String,
    /// Seconds since 1970, as the next one.
    #[serde(default)]
    begun_s: u64,
    expires_s: u64,
}

impl Setup {
    /// A router without a clock of its own begins in 1970: what has expired long ago is not good again.
    fn is_open(&self, now_s: u64) -> bool {
        (self.begun_s..self.expires_s).contains(&now_s)
    }
}

/// Everybody who may come in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Accounts {
    /// Of the file's layout: 1.
    version: u32,
    #[serde(default)]
    users: Vec<User>,
    #[serde(default)]
    tokens: Vec<Token>,
    #[serde(default)]
    setup: Option<Setup>,
}

impl Default for Accounts {
    fn default() -> Self {
        Accounts { version: VERSION, users: Vec::new(), tokens: Vec::new(), setup: None }
    }
}

impl User {
    /// The hash of his password.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }
}

impl Accounts {
    /// By name.
    pub fn users(&self) -> &[User] {
        &self.users
    }

    /// By name.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// The entry of a token somebody shows.
    pub(crate) fn token(&self, shown: &str) -> Option<&Token> {
        let shown = hex(&digest(shown.as_bytes()));
        self.tokens.iter().find(|token| same(&token.sha256, &shown))
    }

    /// Adds a user, or gives him another password and role. Hashing takes 10 ms.
    ///
    /// # Errors
    /// The name or the password cannot be one, or there are too many.
    pub fn set_user(&mut self, name: &str, role: Role, password: &str) -> Result<(), AccountsError> {
        check_name(name)?;
        if let Some(why) = password::refusal(password) {
            return Err(AccountsError::Refused(why));
        }
        let hash = password::hash(password)
            .ok_or_else(|| AccountsError::Refused("the password cannot be hashed".to_owned()))?;
        self.users.retain(|user| user.name != name);
        if self.users.len() >= ENTRIES_MAX {
            return Err(AccountsError::Refused(format!("there are {ENTRIES_MAX} users already")));
        }
        self.users.push(User { name: name.to_owned(), role, hash });
        self.users.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// Whether there was one.
    pub fn remove_user(&mut self, name: &str) -> bool {
        let before = self.users.len();
        self.users.retain(|user| user.name != name);
        self.users.len() < before
    }

    /// Makes a token and returns it: it cannot be shown again.
    ///
    /// # Errors
    /// The name cannot be one, is taken, or there are too many.
    pub fn add_token(&mut self, name: &str, role: Role) -> Result<String, AccountsError> {
        check_name(name)?;
        if self.tokens.iter().any(|token| token.name == name) {
            return Err(AccountsError::Refused(format!("there is a token '{name}' already")));
        }
        if self.tokens.len() >= ENTRIES_MAX {
            return Err(AccountsError::Refused(format!("there are {ENTRIES_MAX} tokens already")));
        }
        let token = format!("mwan_{}", super::secret::Secret::random().reveal());
        let sha256 = hex(&digest(token.as_bytes()));
        self.tokens.push(Token { name: name.to_owned(), role, sha256 });
        self.tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(token)
    }

    /// Whether there was one.
    pub fn remove_token(&mut self, name: &str) -> bool {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.name != name);
        self.tokens.len() < before
    }

    /// Makes a link's secret, by which `user` becomes an administrator once, within `valid_s` seconds from `now_s` (since 1970). A
    /// link before this one is worth nothing any more.
    ///
    /// # Errors
    /// The name cannot be one.
    pub fn begin_setup(&mut self, user: &str, now_s: u64, valid_s: u64) -> Result<String, AccountsError> {
        check_name(user)?;
        let secret = super::secret::Secret::random();
        let sha256 = hex(&digest(secret.reveal().as_bytes()));
        let expires_s = now_s.saturating_add(valid_s);
        self.setup = Some(Setup { user: user.to_owned(), sha256, begun_s: now_s, expires_s });
        Ok(secret.reveal().to_owned())
    }

    /// Who sets his password by the link with this secret, which is used up thereby.
    pub(crate) fn take_setup(&mut self, secret: &str, now_s: u64) -> Option<String> {
        let shown = hex(&digest(secret.as_bytes()));
        let found = self.setup.as_ref().filter(|setup| same(&setup.sha256, &shown))?;
        let user = found.is_open(now_s).then(|| found.user.clone());
        self.setup = None;
        user
    }

    /// Whether a link waits to be used.
    pub(crate) fn has_setup(&self, now_s: u64) -> bool {
        self.setup.as_ref().is_some_and(|setup| setup.is_open(now_s))
    }
}

fn check_name(name: &str) -> Result<(), AccountsError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    let message = format!("a name has 1 to {NAME_MAX} letters, digits and . _ - @");
    Err(AccountsError::Refused(message))
}

/// What changes when the file does.
type Stamp = (u64, u64, i64, i64);

/// The file, and what was read of it last.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Accounts>)>>,
}

impl Store {
    /// In this folder. Nothing is read yet.
    pub fn new(folder: &Path) -> Self {
        Store { folder: folder.to_owned(), read: Mutex::new(None) }
    }

    /// Accounts as they are in the file now; nobody, if there is none.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn accounts(&self) -> Result<Arc<Accounts>, AccountsError> {
        let path = self.folder.join(FILE);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = match fs::metadata(&path) {
            Ok(meta) => (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(source) => return Err(AccountsError::File { path, source }),
        };
        if let Some((seen, accounts)) = read.as_ref().filter(|(seen, _)| *seen == stamp) {
            debug_assert_eq!(*seen, stamp);
            return Ok(accounts.clone());
        }
        let accounts = Arc::new(load(&path)?);
        *read = Some((stamp, accounts.clone()));
        Ok(accounts)
    }

    /// Changes the file as a whole, one who does so after the other; what `change` refuses is not written. The file belongs to
    /// whom its folder belongs to.
    ///
    /// # Errors
    /// Those of `change`, and of the file.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Accounts) -> Result<T, AccountsError>,
    ) -> Result<T, AccountsError> {
        let path = self.folder.join(FILE);
        let wrap = |path: &Path| {
            let path = path.to_owned();
            move |source| AccountsError::File { path, source }
        };
        let lock_path = self.folder.join(LOCK);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let (lock, _) = files::open(&lock_path, &mut options).map_err(wrap(&lock_path))?;
        let owner = fs::metadata(&self.folder).map_err(wrap(&self.folder))?;
        files::give(&lock, owner.uid(), owner.gid()).map_err(wrap(&lock_path))?;
        lock.lock().map_err(wrap(&lock_path))?;
        let mut accounts = match load(&path) {
            Err(AccountsError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Accounts::default()
            }
            loaded => loaded?,
        };
        let before = accounts.clone();
        let done = change(&mut accounts)?;
        // Flash wears: who guesses links writes nothing.
        if accounts != before {
            let bytes = serde_json::to_vec_pretty(&accounts).map_err(io::Error::other);
            bytes.and_then(|bytes| files::replace(&path, &bytes, &self.folder)).map_err(wrap(&path))?;
        }
        Ok(done)
    }
}

fn load(path: &Path) -> Result<Accounts, AccountsError> {
    let damaged = |why: String| AccountsError::Damaged { path: path.to_owned(), why };
    let bytes = files::read(path, FILE_MAX)
        .map_err(|source| AccountsError::File { path: path.to_owned(), source })?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(damaged(format!("it is larger than {FILE_MAX} bytes")));
    }
    let accounts: Accounts = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if accounts.version != VERSION {
        return Err(damaged(format!("its version is {}, and not {VERSION}", accounts.version)));
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        (dir, store)
    }

    #[test]
    fn what_is_kept_opens_nothing_and_is_for_its_owner_only() {
        let (dir, store) = store();
        assert_eq!(*store.accounts().unwrap(), Accounts::default());
        let token = store
            .change(|accounts| {
                accounts.set_user("ann", Role::Admin, "correct horse")?;
                accounts.add_token("prometheus", Role::Viewer)
            })
            .unwrap();
        let link = store.change(|accounts| accounts.begin_setup("bob", 0, 60)).unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&file).unwrap();
        for secret in ["correct horse", &token, &link] {
            assert!(!text.contains(secret), "{text}");
        }
        let accounts = store.accounts().unwrap();
        assert_eq!(accounts.token(&token).unwrap().name, "prometheus");
        assert!(accounts.token(&token[..token.len() - 1]).is_none());
        assert!(accounts.user("ann").is_some() && accounts.user("bob").is_none());
    }

    #[test]
    fn a_link_is_used_once_and_in_time() {
        let (_dir, store) = store();
        let begin = || store.change(|accounts| accounts.begin_setup("ann", 1000, 60)).unwrap();
        let take = |secret: &str, now| store.change(|accounts| Ok(accounts.take_setup(secret, now))).unwrap();
        let first = begin();
        let second = begin();
        assert_eq!(take(&first, 1001), None, "another one was made since");
        assert_eq!(take(&second, 1059), Some("ann".to_owned()));
        assert_eq!(take(&second, 1059), None, "used up");
        for (other, why) in [(1060, "too late"), (999, "the clock was set back")] {
            let link = begin();
            assert_eq!(take(&link, other), None, "{why}");
        }
        assert!(!store.accounts().unwrap().has_setup(0), "and gone");
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let (dir, store) = store();
        for name in ["", "a b", "é", "a/b", "\n", &"x".repeat(65)] {
            let refused = store.change(|accounts| accounts.set_user(name, Role::Viewer, "correct horse"));
            assert!(matches!(refused, Err(AccountsError::Refused(_))), "{name:?}");
        }
        let short = store.change(|accounts| accounts.set_user("ann", Role::Viewer, "short"));
        assert!(short.is_err() && !dir.path().join(FILE).exists());
        store.change(|accounts| accounts.add_token("t", Role::Viewer)).unwrap();
        assert!(store.change(|accounts| accounts.add_token("t", Role::Admin)).is_err());
        assert_eq!(store.accounts().unwrap().tokens()[0].role, Role::Viewer);
        for damaged in [
            "",
            "{",
            "[]",
            "{}",
            "{\"version\":2}",
            "{\"version\":1,\"users\":3}",
            &format!("\"{}\"", "x".repeat(2 << 20)),
        ] {
            fs::write(dir.path().join(FILE), damaged).unwrap();
            assert!(matches!(store.accounts(), Err(AccountsError::Damaged { .. })), "{damaged:.9}");
            assert!(store.change(|accounts| Ok(accounts.remove_token("t"))).is_err(), "and not replaced");
        }
    }

    #[test]
    fn two_who_change_it_at_once_both_do() {
        let (dir, _) = store();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let folder = dir.path();
                scope.spawn(move || {
                    let store = Store::new(folder);
                    store.change(|accounts| accounts.add_token(&format!("t{n}"), Role::Viewer)).unwrap();
                });
            }
        });
        assert_eq!(Store::new(dir.path()).accounts().unwrap().tokens().len(), 8);
    }
}
