//! What Linux did, as `scripts/oracle --record` wrote it down.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::generate;
use crate::run::{self, Results, Scenario};

/// How many scenarios gave the same as Linux, and how many did not. Those that did not are told on
/// stderr.
pub fn replay(folder: &Path) -> (usize, usize) {
    let named = named(&folder.join("scenarios"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder.join("recorded")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (mut same, mut different) = (0, 0);
    let mut counts = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        counts += &format!("{} {}\n", file.file_stem().unwrap().display(), text.lines().count() - 1);
        // The first line says how the file was made.
        for line in text.lines().skip(1) {
            let linux: Results = serde_json::from_str(line).unwrap();
            let scenario = named.get(&linux.scenario).cloned().unwrap_or_else(|| random(&linux.scenario));
            let vipline = run::run(&scenario);
            if vipline == linux {
                same += 1;
            } else {
                different += 1;
                tell(&scenario, &linux, &vipline);
            }
        }
    }
    // The manifest shows when scenarios have vanished.
    let manifest = std::fs::read_to_string(folder.join("manifest.txt")).unwrap();
    let (_, manifest) = manifest.split_once('\n').unwrap();
    assert_eq!(counts, manifest, "what is recorded is not what manifest.txt says");
    let own = manifest.lines().find_map(|line| line.strip_prefix("named ")).unwrap();
    assert_eq!(named.len().to_string(), own, "files in scenarios/");
    (same, different)
}

fn named(folder: &Path) -> HashMap<String, Scenario> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scenarios = files.map(|path| {
        let scenario = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        (scenario.clone(), Scenario { scenario, text })
    });
    scenarios.collect()
}

fn random(name: &str) -> Scenario {
    let Some((kind, seed)) = name.rsplit_once('-') else { panic!("{name}: neither a file nor a seed") };
    let Ok(seed) = seed.parse() else { panic!("{name}: neither a file nor a seed") };
    generate::scenario(kind, seed)
}

fn tell(scenario: &Scenario, linux: &Results, vipline: &Results) {
    eprintln!("{}: differs from Linux", scenario.scenario);
    let vipline: HashMap<usize, &str> = vipline.results.iter().map(|(n, text)| (*n, &**text)).collect();
    for (number, theirs) in &linux.results {
        let ours = vipline.get(number).copied().unwrap_or("nothing");
        if ours != theirs {
            let line = scenario.text.lines().nth(number - 1).unwrap_or_default();
            eprintln!("line {number}: {line}\n  Linux: {theirs}\n  Vipline: {ours}");
            return;
        }
    }
    eprintln!("Vipline says something where Linux says nothing");
}
