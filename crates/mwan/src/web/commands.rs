//! `mwan web`: who may come in.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use mwan_web::{AccountsError, Store};

use super::serve::{make_folder, serve};
use super::{FOLDER, LISTENING, Listening};
use crate::cli::{AccountCommand, Exit, Failure, WebCommand, print, talk};

/// A link that nobody uses for so long is worth nothing, s.
const LINK_VALID_S: u64 = 3600;

/// Runs a command.
pub(crate) fn run(run_dir: &Path, state_dir: &Path, command: WebCommand) -> Result<Exit, Failure> {
    if let WebCommand::Serve = command {
        return serve().map(|()| Exit::Ok);
    }
    fs::create_dir_all(state_dir)
        .map_err(|e| Failure::new(format!("cannot make the directory {}", state_dir.display()), &e))?;
    make_folder(state_dir)?;
    let store = Store::new(&state_dir.join(FOLDER));
    match command {
        WebCommand::Serve => {}
        WebCommand::Init { user } => init(run_dir, &store, &user)?,
        WebCommand::User { command } => users(&store, command)?,
        WebCommand::Token { command } => tokens(&store, command)?,
    }
    Ok(Exit::Ok)
}

fn failed(error: &AccountsError) -> Failure {
    match error {
        AccountsError::Damaged { .. } => Failure::new("", error)
            .hint("put it aside and add users and tokens again; the web server needs no restart"),
        error => Failure::new("", error),
    }
}

/// Prints the link by which the first password is set.
fn init(run_dir: &Path, store: &Store, user: &str) -> Result<(), Failure> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let secret = store.change(|accounts| accounts.begin_setup(user, now_s, LINK_VALID_S));
    let secret = secret.map_err(|e| failed(&e))?;
    let listening: Listening = fs::read(run_dir.join(LISTENING))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    if listening.urls.is_empty() {
        talk(
            "the web server does not run: set `enabled` of the section web to 1 (docs/api.md); the link is good afterwards, too",
        );
    }
    let none = ["http://127.0.0.1:8480".to_owned()];
    let urls = if listening.urls.is_empty() { &none[..] } else { &listening.urls[..] };
    // Behind the #, no browser sends it to a server unasked, nor writes it into a log.
    let links: String = urls.iter().map(|url| format!("{url}/#setup={secret}\n")).collect();
    talk(&format!("open one of these within {} minutes to set the password of {user}:", LINK_VALID_S / 60));
    print(&links)?;
    if let Some(fingerprint) = listening.fingerprint {
        talk(&format!(
            "the browser will warn of the certificate; its SHA-256 fingerprint has to be\n{}",
            colons(&fingerprint)
        ));
    }
    Ok(())
}

/// As browsers show it.
fn colons(hex: &str) -> String {
    let pairs: Vec<String> = hex
        .to_ascii_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into_owned())
        .collect();
    pairs.join(":")
}

fn users(store: &Store, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add { name, role } => {
            talk(&format!("password of {}:", name.escape_debug()));
            let password = mwan_linux::process::read_hidden_line()
                .map_err(|e| Failure::new("cannot read the password from standard input", &e))?;
            store.change(|accounts| accounts.set_user(&name, role.into(), &password)).map_err(|e| failed(&e))
        }
        AccountCommand::Remove { name } => {
            let removed = store.change(|accounts| Ok(accounts.remove_user(&name))).map_err(|e| failed(&e))?;
            known(removed, "user", &name)
        }
        AccountCommand::List => {
            let accounts = store.accounts().map_err(|e| failed(&e))?;
            print(
                &accounts
                    .users()
                    .iter()
                    .map(|user| format!("{} {}\n", user.name, user.role.name()))
                    .collect::<String>(),
            )
        }
    }
}

fn tokens(store: &Store, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add { name, role } => {
            let token =
                store.change(|accounts| accounts.add_token(&name, role.into())).map_err(|e| failed(&e))?;
            talk("this is shown once; send it as `Authorization: Bearer TOKEN`:");
            print(&format!("{token}\n"))
        }
        AccountCommand::Remove { name } => {
            let removed =
                store.change(|accounts| Ok(accounts.remove_token(&name))).map_err(|e| failed(&e))?;
            known(removed, "token", &name)
        }
        AccountCommand::List => {
            let accounts = store.accounts().map_err(|e| failed(&e))?;
            let line = |token: &mwan_web::Token| format!("{} {}\n", token.name, token.role.name());
            print(&accounts.tokens().iter().map(line).collect::<String>())
        }
    }
}

fn known(removed: bool, what: &str, name: &str) -> Result<(), Failure> {
    if removed {
        return Ok(());
    }
    Err(Failure::says(format!("there is no {what} '{}'", name.escape_debug()))
        .hint(format!("`mwan web {what} list` prints them")))
}
