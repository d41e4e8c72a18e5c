//! The files that a configuration names. They are tried on empty tables before anything is touched.

use std::fmt::Display;
use std::path::Path;

use lvs::ipvs::{self, Rule, System};
use model::{MarkChange, MarkTable, Model, ModelOptions};

use crate::config::Config;

/// A rules file that an empty director accepts completely.
#[derive(Debug)]
pub struct RulesFile {
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// How many services the rules make.
    pub services: usize,
    /// How many destinations the rules make.
    pub destinations: usize,
}

/// Reads a rules file and tries it on an empty model. Errors name the file and the line.
pub fn rules(file: &Path, options: ModelOptions) -> Result<RulesFile, String> {
    let wrong = |error: &dyn Display| format!("{}: {error}", file.display());
    let text =
        std::fs::read_to_string(file).map_err(|error| wrong(&format!("cannot read the rules: {error}")))?;
    let rules = ipvs::rules(&text, &System::default()).map_err(|error| wrong(&error))?;
    let mut model = Model::new(options);
    ipvs::apply_rules(&mut model, &rules).map_err(|error| wrong(&error))?;
    Ok(RulesFile { rules, services: model.service_count(), destinations: model.destination_count() })
}

/// The rules in the file that the configuration names; none if it names no file.
pub fn rules_of(config: &Config) -> Result<Vec<Rule>, String> {
    let Some(file) = &config.rules else { return Ok(Vec::new()) };
    Ok(rules(file, ModelOptions::served(config.max_destinations, config.mh_size))?.rules)
}

/// The mark rules in the file that the configuration names, as changes of an empty table. Errors
/// name the file.
pub fn marks_of(config: &Config) -> Result<Vec<MarkChange>, String> {
    let Some(file) = &config.marks else { return Ok(Vec::new()) };
    let wrong = |error: &dyn Display| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|error| wrong(&format!("cannot read the mark rules: {error}")))?;
    let mut table = MarkTable::new(config.host_interfaces(), dataplane::marks::MOST);
    lvs::mark::load(&text, &System::default(), &mut table).map_err(|error| wrong(&error))?;
    Ok(table.rules().iter().cloned().map(MarkChange::Append).collect())
}
