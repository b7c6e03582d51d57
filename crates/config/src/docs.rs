//! Reference pages generated from the tables: `docs/configuration.md` and `docs/diagnostics.md`.

use std::fmt::Write;

use crate::codes::codes;
use crate::ipfire::keys::{FileKind, keys};
use crate::options::{Dialect, OptionDoc, SectionKind, options_of};

/// `docs/diagnostics.md`.
pub fn diagnostics_md() -> String {
    let mut out = String::from(
        "# Diagnostics of the configuration\n\n\
         <!-- Generated from crates/config/src/codes.rs; UPDATE_DOCS=1 cargo test -p mwan-config -->\n\n\
         Every finding has a stable code: `E` an error (something was left out or replaced by its default; \
         `mwan check` fails), `W` a warning (something does not do what it seems to), `N` a note.\n",
    );
    for doc in codes() {
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "\n## {} — {}\n\n{}: {}\n",
            doc.code,
            doc.title,
            doc.severity().name(),
            doc.explanation
        );
        if !doc.fix.is_empty() {
            let _ = write!(out, "\nFix: {}\n", doc.fix);
        }
    }
    out
}

/// The option part of `docs/compat.md`.
pub fn compat_options_md() -> String {
    crate::compat::table()
}

/// `docs/configuration.md`.
pub fn configuration_md() -> String {
    let mut out = String::from(INTRODUCTION);
    out.push_str("\n# Options of UCI files\n");
    for kind in SectionKind::ALL {
        let names = kind.uci().iter().map(|n| format!("`config {n}`")).collect::<Vec<_>>().join(" or ");
        let _ = write!(out, "\n## {names}\n\n{}\n", about(kind));
        table(&mut out, kind, Dialect::Uci);
    }
    out.push_str("\n# Options of mwan.toml\n");
    for kind in SectionKind::ALL {
        let Some(name) = kind.native() else { continue };
        let header = match kind {
            SectionKind::Globals | SectionKind::Web => format!("`[{name}]`"),
            SectionKind::Rule => format!("`[[{name}]]`"),
            _ => format!("`[{name}.NAME]`"),
        };
        let _ = write!(out, "\n## {header}\n");
        table(&mut out, kind, Dialect::Native);
    }
    ipfire(&mut out);
    out
}

fn ipfire(out: &mut String) {
    out.push_str("\n# Keys of IPFire's files\n\n");
    out.push_str(IPFIRE);
    for kind in FileKind::ALL {
        let _ = write!(
            out,
            "\n## `{}`\n\n| key | value | default | what it does |\n|---|---|---|---|\n",
            kind.path()
        );
        for doc in keys().iter().filter(|k| k.files.contains(&kind)) {
            let names = std::iter::once(doc.key).chain(doc.also.iter().copied());
            let names: Vec<String> = names.map(|n| format!("`{n}`")).collect();
            let default = if doc.default.is_empty() { String::new() } else { format!("`{}`", doc.default) };
            let _ =
                writeln!(out, "| {} | {} | {default} | {} |", names.join(", "), doc.kind, doc.description);
        }
    }
}

const IPFIRE: &str = "`mwan daemon --config /var/ipfire/mwan/settings` reads these files below `/var/ipfire`, and IPFire's own \
`ethernet/settings` and `ppp/settings` for the primary. They are `KEY=VALUE` or `KEY='VALUE'`, `#` begins a comment; nothing in \
them is ever run. In profiles every key may begin with `BACKUP_`, in interfaces with `INTERFACE_`. Files of `mwan/rules` hold \
mwan3's options of a rule in capitals (`PROTO=tcp`, `DEST_PORT=443`, `USE_POLICY=red`), and are asked in the order of `ls -v`; \
what none of them matches goes by the policy `red`, which has every interface.\n";

fn about(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Globals => "Settings of the whole program. One section; its name is of no importance.",
        SectionKind::Interface => {
            "A WAN. The position among all interface sections, disabled ones included, is its first id."
        }
        SectionKind::Member => "An interface with metric and weight, for use in policies.",
        SectionKind::Policy => {
            "Members; the lowest metric among the usable ones carries, equal metrics share by weight."
        }
        SectionKind::Rule => "Ordered; the first rule that matches decides. May be anonymous.",
        SectionKind::Ipset => {
            "A named set of addresses: listed here, in a file, or learned by the resolver. Rules name it."
        }
        SectionKind::Web => {
            "Control API, dashboard and metrics over HTTP. One section; its name is of no importance."
        }
        SectionKind::Alert => {
            "One way to tell somebody of incidents ([alerts.md](alerts.md)). Names are free; secrets stand in files of their own."
        }
        SectionKind::Cloud => {
            "What `mwan cloud apply` keeps of a cloud's document and the other sections cannot say; not to be edited \
             ([cloud.md](cloud.md))."
        }
    }
}

fn table(out: &mut String, kind: SectionKind, dialect: Dialect) {
    let mut rows = options_of(kind).filter(|o| o.names(dialect).next().is_some()).peekable();
    if rows.peek().is_none() {
        return;
    }
    out.push_str("\n| option | value | default | what it does |\n|---|---|---|---|\n");
    for doc in rows {
        let names: Vec<String> = doc.names(dialect).map(|n| format!("`{n}`")).collect();
        let list = match (doc.list, dialect) {
            (true, Dialect::Uci) => " (option or list)",
            (true, Dialect::Native) if doc.uci.is_empty() => "",
            (true, Dialect::Native) => " (one or an array)",
            (false, _) => "",
        };
        let _ = writeln!(
            out,
            "| {} | {}{list} | {} | {} |",
            names.join(", "),
            doc.kind,
            default(doc, dialect),
            doc.description
        );
    }
}

fn default(doc: &OptionDoc, dialect: Dialect) -> String {
    let text = match dialect {
        Dialect::Native => doc.native_default.unwrap_or(doc.default),
        Dialect::Uci => doc.default,
    };
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

const INTRODUCTION: &str = include_str!("configuration_intro.md");
