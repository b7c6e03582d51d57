//! The exposition formats: OpenMetrics 1.0, and Prometheus' text format 0.0.4 for what does not know it. Written by hand, since
//! names of interfaces and rules are the owner's and have to be escaped.

use std::fmt::Write;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// application/openmetrics-text; version=1.0.0
    OpenMetrics,
    /// text/plain; version=0.0.4
    Prometheus,
}

impl Format {
    /// What a scraper takes; Prometheus itself asks for OpenMetrics first.
    pub(crate) fn accepted(accept: &str) -> Self {
        if accept.to_ascii_lowercase().contains("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Type of a family of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A value now.
    Gauge,
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Quantiles, a sum and a count.
    Summary,
    /// Cumulative buckets, a sum and a count.
    Histogram,
    /// Labels that say something, with the value 1; its name ends in `_info`.
    Info,
    /// One of several states; the label that names it is called as the family.
    StateSet,
}

/// Name, type and meaning of a family; the unit is part of the name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: &'static str,
    pub(crate) help: &'static str,
}

/// A label: name and value.
pub(crate) type Label<'a> = (&'a str, &'a str);

/// Text of metrics. Samples of a family are written one after the other, as both formats ask.
#[derive(Debug)]
pub(crate) struct Exposition {
    format: Format,
    text: String,
    family: Option<Family>,
}

impl Exposition {
    pub(crate) fn new(format: Format) -> Self {
        Exposition { format, text: String::new(), family: None }
    }

    /// A sample of a family. The first one of a family is preceded by what the family is.
    pub(crate) fn sample(&mut self, family: &Family, labels: &[Label<'_>], value: f64) {
        let suffix = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            _ => "",
        };
        self.part(family, suffix, labels, value);
    }

    /// A sample whose name has this ending: `_sum`, `_count`, `_bucket`.
    pub(crate) fn part(&mut self, family: &Family, suffix: &str, labels: &[Label<'_>], value: f64) {
        self.begin(family);
        let _ = write!(self.text, "{}{suffix}", family.name);
        for (number, (name, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"{}\"", if number == 0 { '{' } else { ',' }, Escaped(value));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {}", Number(value));
    }

    fn begin(&mut self, family: &Family) {
        if self.family.is_some_and(|before| before.name == family.name) {
            return;
        }
        self.family = Some(*family);
        let (name, kind) = match (self.format, family.kind) {
            (_, Kind::Gauge) => (family.name.to_owned(), "gauge"),
            (_, Kind::Summary) => (family.name.to_owned(), "summary"),
            (_, Kind::Histogram) => (family.name.to_owned(), "histogram"),
            (Format::OpenMetrics, Kind::Counter) => (family.name.to_owned(), "counter"),
            (Format::OpenMetrics, Kind::Info) => (family.name.to_owned(), "info"),
            (Format::OpenMetrics, Kind::StateSet) => (family.name.to_owned(), "stateset"),
            (Format::Prometheus, Kind::Counter) => (format!("{}_total", family.name), "counter"),
            (Format::Prometheus, Kind::Info) => (format!("{}_info", family.name), "gauge"),
            (Format::Prometheus, Kind::StateSet) => (family.name.to_owned(), "gauge"),
        };
        let _ = writeln!(self.text, "# TYPE {name} {kind}");
        if self.format == Format::OpenMetrics && !family.unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {name} {}", family.unit);
        }
        let _ = writeln!(self.text, "# HELP {name} {}", Escaped(family.help));
    }

    /// The whole text.
    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// `\`, `"` and line feeds as the formats want them; everything else is UTF-8 and stays.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATE: Family = Family { name: "mwan_s", kind: Kind::StateSet, unit: "", help: "A \"state\"\\\n." };
    const COUNT: Family = Family { name: "mwan_c_bytes", kind: Kind::Counter, unit: "bytes", help: "Bytes." };

    fn text(format: Format) -> String {
        let mut out = Exposition::new(format);
        out.sample(&STATE, &[("interface", "a\"b\\c\nd"), ("mwan_s", "on")], 1.0);
        out.sample(&STATE, &[("interface", "é"), ("mwan_s", "off")], 0.0);
        out.sample(&COUNT, &[], 1.5e12);
        out.finish()
    }

    /// The examples of the specification, "ABNF" and "Metric types": counters are named without `_total` in their metadata, a unit
    /// is the end of the name, a state set's label is called as itself, and the end is marked.
    #[test]
    fn openmetrics_is_as_the_specification_says() {
        let expected = "\
            # TYPE mwan_s stateset\n\
            # HELP mwan_s A \\\"state\\\"\\\\\\n.\n\
            mwan_s{interface=\"a\\\"b\\\\c\\nd\",mwan_s=\"on\"} 1\n\
            mwan_s{interface=\"é\",mwan_s=\"off\"} 0\n\
            # TYPE mwan_c_bytes counter\n\
            # UNIT mwan_c_bytes bytes\n\
            # HELP mwan_c_bytes Bytes.\n\
            mwan_c_bytes_total 1500000000000\n\
            # EOF\n";
        assert_eq!(text(Format::OpenMetrics), expected);
    }

    /// There, metadata have the sample's name, and there are neither state sets nor units.
    #[test]
    fn the_older_format_is_as_prometheus_says() {
        let text = text(Format::Prometheus);
        assert!(
            text.contains("# TYPE mwan_s gauge\n") && text.contains("# TYPE mwan_c_bytes_total counter\n")
        );
        assert!(!text.contains("UNIT") && !text.contains("EOF"), "{text}");
    }

    #[test]
    fn numbers_are_written_as_both_formats_read_them() {
        let shown =
            [0.0, -1.0, 0.001_25, f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|n| Number(n).to_string());
        assert_eq!(shown, ["0", "-1", "0.00125", "NaN", "+Inf", "-Inf"]);
    }

    #[test]
    fn what_a_scraper_takes_is_what_it_gets() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    }

    proptest! {
        /// Whatever a name is, it stays inside of its quotes and comes out again.
        #[test]
        fn any_label_value_stays_in_its_quotes(value in any::<String>()) {
            let mut out = Exposition::new(Format::OpenMetrics);
            out.sample(&COUNT, &[("a", &value)], 1.0);
            let text = out.finish();
            let line = text.split('\n').find(|line| line.starts_with("mwan_c_bytes_total{")).unwrap_or_default();
            let quoted = line.strip_prefix("mwan_c_bytes_total{a=\"").and_then(|l| l.strip_suffix("\"} 1"));
            let mut read = String::new();
            let mut characters = quoted.unwrap_or("missing").chars();
            while let Some(c) = characters.next() {
                prop_assert!(c != '"');
                read.push(if c == '\\' {
                    match characters.next() {
                        Some('n') => '\n',
                        Some(c @ ('\\' | '"')) => c,
                        other => return Err(TestCaseError::fail(format!("{other:?}"))),
                    }
                } else {
                    c
                });
            }
            prop_assert_eq!(read, value);
        }
    }
}
