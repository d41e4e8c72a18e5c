//! `vipline exec`: runs a program that speaks to Linux IPVS, with the library in front of it that
//! leads it to Vipline.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use super::Failure;

/// The library's file (`ffi/preload`).
const LIBRARY: &str = "libvipline_ipvs.so";
/// The variable that names the library's file.
const VARIABLE: &str = "VIPLINE_LIBRARY";

/// Replaces this process by the program in `command`. Returns only if that is impossible.
pub(super) fn exec(command: &[OsString], runtime_dir: &Path) -> Result<(), Failure> {
    let failed = |text: String, code| Err(Failure { text, code });
    let Some((program, args)) = command.split_first() else {
        return failed("exec: which program? vipline exec -- PROGRAM [ARGUMENT]…".into(), 2);
    };
    let library = match library() {
        Ok(library) => library,
        Err(looked) => {
            let looked: Vec<_> = looked.iter().map(|path| path.display().to_string()).collect();
            let text = format!("{LIBRARY} is not at {}; {VARIABLE} can name it", looked.join(", nor at "));
            return failed(text, 1);
        }
    };
    // The program may change its directory.
    let runtime_dir = absolute(runtime_dir).unwrap_or_else(|_| runtime_dir.to_owned());
    let error = Command::new(program)
        .args(args)
        .env("LD_PRELOAD", before(&library, env::var_os("LD_PRELOAD").as_deref()))
        .env("VIPLINE_RUNTIME_DIR", runtime_dir)
        .exec();
    // The codes are those of a shell.
    let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
    failed(format!("cannot run {}: {error}", program.display()), code)
}

/// The library: where the variable says, or beside this program, or in `lib` beside its directory.
/// If there is none, returns the places.
fn library() -> Result<PathBuf, Vec<PathBuf>> {
    let places = match env::var_os(VARIABLE).filter(|said| !said.is_empty()) {
        Some(said) => vec![absolute(&said).unwrap_or_else(|_| said.into())],
        None => places(&env::current_exe().unwrap_or_default()),
    };
    places.iter().find(|place| place.is_file()).cloned().ok_or(places)
}

/// Where the library of a program may be.
fn places(program: &Path) -> Vec<PathBuf> {
    let directory = program.parent().unwrap_or(Path::new("/"));
    let above = directory.parent().unwrap_or(Path::new("/"));
    vec![directory.join(LIBRARY), above.join("lib").join(LIBRARY)]
}

/// The library, then those that are loaded first already.
fn before(library: &Path, already: Option<&OsStr>) -> OsString {
    let mut all = library.as_os_str().to_owned();
    if let Some(already) = already.filter(|already| !already.is_empty()) {
        all.push(":");
        all.push(already);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_beside_the_program_or_in_lib() {
        let places = places(Path::new("/usr/local/sbin/vipline"));
        let expected = ["/usr/local/sbin/libvipline_ipvs.so", "/usr/local/lib/libvipline_ipvs.so"];
        assert_eq!(places, expected.map(PathBuf::from));
    }

    #[test]
    fn libraries_of_others_stay() {
        let library = Path::new("/x/l.so");
        assert_eq!(before(library, None), "/x/l.so");
        assert_eq!(before(library, Some(OsStr::new(""))), "/x/l.so");
        assert_eq!(before(library, Some(OsStr::new("/y.so /z.so"))), "/x/l.so:/y.so /z.so");
    }
}
