//! The TOML file as a layer: `[section]`, `key = value`.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::apply::Given;
use super::settings::{SETTINGS, Setting};
use super::{Errors, Fault, Mistake, Origin};

/// All values of the file, in its order of names; what cannot be read or is no single value goes to `errors`.
pub(super) fn read(path: &Path, errors: &mut Errors) -> Vec<Given> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let subject = path.display().to_string();
            errors.push(Mistake { subject, origin: None, value: None, fault: Fault::Unreadable(error) });
            return Vec::new();
        }
    };
    let (table, mistakes) = DeTable::parse_recoverable(&text);
    let mut reader = Reader { path, text: &text, given: Vec::new(), errors };
    for mistake in &mistakes {
        // Not the error's own text: it repeats the line, which may be the one with the password.
        let subject = reader.origin(mistake.span().map_or(0, |span| span.start)).to_string();
        let fault = Fault::Syntax(mistake.message().to_owned());
        reader.errors.push(Mistake { subject, origin: None, value: None, fault });
    }
    if mistakes.is_empty() {
        reader.table("", table.get_ref());
    }
    reader.given
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    given: Vec<Given>,
    errors: &'a mut Errors,
}

impl Reader<'_> {
    fn origin(&self, at: usize) -> Origin {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        Origin::File(self.path.to_owned(), 1 + before.iter().filter(|byte| **byte == b'\n').count())
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key =
                if section.is_empty() { name.get_ref().to_string() } else { format!("{section}.{}", name.get_ref()) };
            self.value(key, name.span().start, value);
        }
    }

    fn value(&mut self, key: String, at: usize, value: &Spanned<DeValue<'_>>) {
        let origin = self.origin(at);
        let text = match value.get_ref() {
            DeValue::Table(table) if Setting::of(&key).is_none() && (is_section(&key) || !table.is_empty()) => {
                return self.table(&key, table);
            }
            // An empty table is a name without a value; the table of settings tells whether there is such a name.
            DeValue::Table(table) if table.is_empty() && Setting::of(&key).is_none() => String::new(),
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Float(value) => value.as_str().to_owned(),
            DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
                .map_or_else(|_| value.to_string(), |value| value.to_string()),
            other => {
                let fault = Fault::Value(format!("one plain value, not a TOML {}", other.type_str()));
                self.errors.push(Mistake { subject: key, origin: Some(origin), value: None, fault });
                return;
            }
        };
        self.given.push(Given { key, text, origin });
    }
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.parts().0 == name)
}
