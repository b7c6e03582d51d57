//! Reference, manual pages and shell completions: all of them made of the commands in `args.rs` and the table of options, by tests that
//! compare what is in the tree (`UPDATE_DOCS=1` writes it anew). `scripts/install` puts them in their places.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};

use super::args::Args;

/// The tree's root.
fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The whole command, as `build` completes it: help of help is left out, it is in `--help`.
fn command() -> Command {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    command
}

/// Compares files of one folder with what they should be, or writes them.
fn same(folder: &str, files: &[(String, String)]) {
    let folder = tree().join(folder);
    let written = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    for (name, text) in files {
        assert!(written(name) == *text, "{}/{name} is out of date: make docs", folder.display());
    }
}

/// All files of a folder belong to a command there is.
fn nothing_else(folder: &str, files: &[(String, String)]) {
    for entry in fs::read_dir(tree().join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(files.iter().any(|(known, _)| *known == name), "{folder}/{name} is of no command");
    }
}

/// Every command with the words that lead to it, parents first. Hidden ones are for ourselves.
fn every(command: &Command) -> Vec<(Vec<String>, Command)> {
    fn walk(words: &[String], command: &Command, all: &mut Vec<(Vec<String>, Command)>) {
        all.push((words.to_vec(), command.clone()));
        for child in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            let mut words = words.to_vec();
            words.push(child.get_name().to_owned());
            walk(&words, child, all);
        }
    }
    let mut all = Vec::new();
    walk(&[command.get_name().to_owned()], command, &mut all);
    all
}

#[test]
fn the_reference_has_every_command_and_option() {
    let mut page = String::from(
        "# Commands\n\n\
         <!-- Generated from crates/mwan/src/cli/args.rs; make docs -->\n\n\
         Of a build with all features; `mwan help` tells what yours has. `--run-dir` and `--help` belong to every command.\n",
    );
    let all = every(&command());
    for (words, command) in all.iter().skip(1) {
        write!(page, "\n{} `{}`\n\n", "#".repeat(words.len()), words.join(" ")).unwrap();
        page.push_str(&describe(command));
    }
    same("docs", &[("commands.md".to_owned(), page)]);
}

fn describe(command: &Command) -> String {
    let mut out = format!("{}\n", text(command.get_long_about().or(command.get_about())));
    let own = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "run_dir");
    let args: Vec<&Arg> = command.get_arguments().filter(own).collect();
    if !args.is_empty() {
        out.push_str("\n| option | what it does | default | environment |\n|---|---|---|---|\n");
    }
    for arg in args {
        let default: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
        let default = if arg.get_action().takes_values() { code(&default.join(" ")) } else { String::new() };
        let environment = arg.get_env().map(|e| code(&e.to_string_lossy())).unwrap_or_default();
        let values: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|v| !v.is_hide_set())
            .map(|v| code(v.get_name()))
            .collect();
        let choice = if values.is_empty() || !arg.get_action().takes_values() {
            String::new()
        } else {
            format!(" One of {}.", values.join(", "))
        };
        let what = text(arg.get_long_help().or(arg.get_help()));
        writeln!(out, "| {} | {what}{choice} | {default} | {environment} |", code(&name(arg))).unwrap();
    }
    out
}

/// `--config FILE`, `-x`, `FILE`.
fn name(arg: &Arg) -> String {
    let value = arg.get_value_names().unwrap_or_default().first().map(ToString::to_string);
    let value = value.unwrap_or_else(|| arg.get_id().as_str().to_uppercase());
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

fn text(styled: Option<&StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

#[test]
fn there_is_a_manual_page_of_every_command_and_one_of_the_configuration() {
    let mut pages = Vec::new();
    for (words, command) in every(&command()) {
        let name = words.join("-");
        let mut page = Vec::new();
        let manual = clap_mangen::Man::new(command).date("").manual("mwan").source("mwan");
        manual.render(&mut page).unwrap();
        pages.push((format!("{name}.1"), String::from_utf8(page).unwrap()));
    }
    let configuration = fs::read_to_string(tree().join("docs/configuration.md")).unwrap();
    pages.push(("mwan.5".to_owned(), manual_of("mwan", 5, "configuration of mwan", &configuration)));
    same("package/man", &pages);
    nothing_else("package/man", &pages);
}

/// A page of our documentation as a manual page: headings, paragraphs, lists, tables of options, code.
fn manual_of(name: &str, section: u8, about: &str, markdown: &str) -> String {
    let mut page = format!(".TH {name} {section} \"\" mwan mwan\n.SH NAME\n{name} \\- {about}\n");
    let mut verbatim = false;
    let mut header: Option<Vec<String>> = None;
    for line in markdown.lines() {
        if line.starts_with("```") {
            verbatim = !verbatim;
            page.push_str(if verbatim { ".PP\n.EX\n" } else { ".EE\n" });
        } else if verbatim {
            writeln!(page, "{}", verbatim_line(line)).unwrap();
        } else if let Some(row) = line.strip_prefix("| ").and_then(|l| l.strip_suffix(" |")) {
            let cells: Vec<String> = split(row);
            match &header {
                None => header = Some(cells),
                Some(header) => page.push_str(&entry(header, &cells)),
            }
        } else if line.starts_with("|--") {
        } else {
            header = None;
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            match mark {
                "#" => writeln!(page, ".SH {}", rest.replace('`', "").to_uppercase()).unwrap(),
                "##" | "###" => writeln!(page, ".SS {}", rest.replace('`', "")).unwrap(),
                "-" => writeln!(page, ".IP \\(bu 2\n{}", inline(rest)).unwrap(),
                "" => page.push_str(".PP\n"),
                _ if line.starts_with("<!--") => {}
                _ => writeln!(page, "{}", inline(line)).unwrap(),
            }
        }
    }
    page
}

/// The cells of a row of a table; `\|` is no border.
fn split(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{0}");
    row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// One row: the first cell, then what the others say, each with its heading.
fn entry(header: &[String], cells: &[String]) -> String {
    let mut out = format!(".TP\n{}\n", inline(&cells[0]));
    let named = header.iter().zip(cells).skip(1).filter(|(_, cell)| !cell.is_empty());
    let (last, others): (Vec<_>, Vec<_>) = named.partition(|(name, _)| *name == "what it does");
    for (_, cell) in &last {
        writeln!(out, "{}", inline(cell)).unwrap();
    }
    let others: Vec<String> = others.iter().map(|(name, cell)| format!("{name}: {}", inline(cell))).collect();
    if !others.is_empty() {
        writeln!(out, "({})", others.join("; ")).unwrap();
    }
    out
}

/// Code and what is strong are bold, links are their text.
fn inline(text: &str) -> String {
    let bold = |text: &str, mark: &str, plain: &dyn Fn(&str) -> String| {
        let parts = text.split(mark).enumerate();
        parts
            .map(|(at, part)| if at % 2 == 1 { format!("\\fB{part}\\fR") } else { plain(part) })
            .collect::<String>()
    };
    guarded(&bold(&escape(text), "`", &|part| bold(part, "**", &without_links)))
}

fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        out.push_str(before);
        match link.split_once("](").and_then(|(words, target)| Some((words, target.split_once(')')?.1))) {
            Some((words, after)) => {
                out.push_str(words);
                rest = after;
            }
            None => {
                out.push('[');
                rest = link;
            }
        }
    }
    out + rest
}

fn verbatim_line(line: &str) -> String {
    guarded(&escape(line))
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// A full stop or an apostrophe would make a request of the line.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

#[test]
fn there_are_completions_for_three_shells() {
    use clap_complete::aot::{Shell, generate};
    let files = [(Shell::Bash, "mwan.bash"), (Shell::Zsh, "_mwan"), (Shell::Fish, "mwan.fish")];
    let files = files.map(|(shell, name)| {
        let mut out = Vec::new();
        generate(shell, &mut Args::command(), "mwan", &mut out);
        (name.to_owned(), String::from_utf8(out).unwrap())
    });
    same("package/completions", &files);
    nothing_else("package/completions", &files);
}
