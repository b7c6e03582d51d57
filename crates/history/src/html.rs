//! The report as one page that can be printed: nothing is loaded, nothing runs.

use std::fmt::Write;

use mwan_api::{Report, ReportInterface, ReportPath};

use crate::text::{HOW, bytes_line, gap_lines, outage_cells, rows, title};

const STYLE: &str = "\
body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#1a1a1a;background:#fff}\
h1{font-size:1.5em}h2{margin-top:1.6em;border-bottom:2px solid #1a1a1a}\
table{border-collapse:collapse;width:100%;margin:.5em 0 1em}\
th,td{border:1px solid #bbb;padding:.3em .6em;text-align:left;vertical-align:top}\
thead th{background:#eee}tbody th{width:9em;font-weight:600}\
.big{font-size:1.6em;font-weight:600}\
@media print{body{margin:0;max-width:none;font-size:10pt}h2,h3{break-after:avoid}tr{break-inside:avoid}}";

/// The report as a page of HTML.
pub fn html(report: &Report) -> String {
    let title = escape(&title(report));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for interface in &report.interfaces {
        add_interface(&mut out, interface, report);
    }
    if report.interfaces.is_empty() {
        out.push_str("<p>Nothing is recorded of this month.</p>\n");
    }
    for problem in &report.problems {
        let _ = writeln!(out, "<p>Not read: {}</p>", escape(problem));
    }
    let _ = write!(out, "<p><small>{}</small></p>\n</body>\n</html>\n", escape(HOW));
    out
}

fn add_interface(out: &mut String, interface: &ReportInterface, report: &Report) {
    let _ = writeln!(out, "<h2>{}</h2>", escape(&interface.interface));
    let _ = writeln!(out, "<p>Bytes: {}</p>", escape(&bytes_line(interface)));
    for path in &interface.paths {
        add_path(out, path, report);
    }
}

fn add_path(out: &mut String, path: &ReportPath, report: &Report) {
    let availability = path.availability_percent.map_or("not known".to_owned(), |p| format!("{p:.3} %"));
    let _ = write!(
        out,
        "<h3>{}</h3>\n<p class=\"big\">{availability}</p>\n<table>\n<tbody>\n",
        escape(&path.family)
    );
    for (name, value) in rows(path) {
        let _ = writeln!(out, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escape(&value));
    }
    out.push_str("</tbody>\n</table>\n");
    if !path.outages.is_empty() {
        add_outages(out, path, report);
    }
    let gaps: Vec<String> = gap_lines(path).collect();
    if !gaps.is_empty() {
        out.push_str("<p>Not recorded (mwan did not run, the machine was off, or its owner had taken the interface down):</p>\n<ul>\n");
        for gap in gaps {
            let _ = writeln!(out, "<li>{}</li>", escape(&gap));
        }
        out.push_str("</ul>\n");
    }
}

fn add_outages(out: &mut String, path: &ReportPath, report: &Report) {
    out.push_str("<table>\n<thead><tr>");
    for name in ["begin", "end", "length", "cause"] {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for outage in &path.outages {
        out.push_str("<tr>");
        for cell in outage_cells(outage, report) {
            let _ = write!(out, "<td>{}</td>", escape(&cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n");
}

/// For text and quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
