//! Finds libdpdk with pkg-config, writes bindings for the names in inventory.rs, compiles the shim
//! for inline functions, and links the libraries. Nothing is downloaded.

mod inventory;

use std::env;
use std::error::Error;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;

use bindgen::callbacks::IntKind;
use bindgen::callbacks::ParseCallbacks;

/// The release whose layouts and semantics the safe layer was written against.
const OLDEST: &str = "22.11";

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Cargo shows a failed script's stderr, and `cargo::error` in colour above it.
            println!("cargo::error={why}");
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    for input in ["wrapper.h", "build/main.rs", "build/inventory.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let library = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .probe("libdpdk")
        .map_err(|e| {
            format!("DPDK {OLDEST} or newer not found: install libdpdk-dev and pkg-config ({})", summary(&e))
        })?;
    let flags = cflags()?;
    let shim = out.join("shim.c");

    bind(&flags, &shim, &out.join("bindings.rs"))?;
    compile(&flags, &shim)?;

    for path in &library.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    for name in inventory::LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={name}");
    }
    Ok(())
}

/// All of pkg-config's flags, in order. The probe above parses the flags too, but drops `-include`
/// and `-march`.
fn cflags() -> Result<Vec<String>, Box<dyn Error>> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = Command::new(program).args(["--cflags", "libdpdk"]).output()?;
    Ok(String::from_utf8(output.stdout)?.split_whitespace().map(str::to_owned).collect())
}

fn bind(flags: &[String], shim: &Path, bindings: &Path) -> Result<(), Box<dyn Error>> {
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(flags)
        // Without this, bindgen leaves out macros such as RTE_BIT64(n).
        .clang_macro_fallback()
        .clang_macro_fallback_build_dir(bindings.with_file_name("macros"))
        .parse_callbacks(Box::new(WideFlags))
        .default_enum_style(bindgen::EnumVariation::ModuleConsts)
        .generate_comments(false)
        .layout_tests(true)
        .merge_extern_blocks(true)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .use_core()
        .wrap_static_fns(true)
        .wrap_static_fns_path(shim)
        .wrap_unsafe_ops(true);
    for name in inventory::FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in inventory::TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in inventory::VARS {
        builder = builder.allowlist_var(name);
    }
    for name in inventory::OPAQUE {
        builder = builder.opaque_type(name);
    }
    std::fs::create_dir_all(bindings.with_file_name("macros"))?;
    builder
        .generate()
        .map_err(|e| format!("Cannot read the DPDK headers: is libclang-dev installed? ({e})"))?
        .write_to_file(bindings)?;
    Ok(())
}

/// Gives flags the width of their field. Otherwise bindgen makes each flag as wide as its value.
#[derive(Debug)]
struct WideFlags;

impl ParseCallbacks for WideFlags {
    fn int_macro(&self, name: &str, _value: i64) -> Option<IntKind> {
        inventory::FLAGS.iter().any(|prefix| name.starts_with(prefix)).then_some(IntKind::U64)
    }
}

fn compile(flags: &[String], shim: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = cc::Build::new();
    compiler.file(shim).include(env::var("CARGO_MANIFEST_DIR")?).opt_level(3).warnings(false);
    for flag in flags {
        compiler.flag(flag);
    }
    compiler
        .try_compile("dpdk_shim")
        .map_err(|e| format!("Cannot compile the shim for inline functions: {e}"))?;
    Ok(())
}

/// The first line of pkg-config's error; the rest is advice about its search path.
fn summary(error: &pkg_config::Error) -> String {
    error
        .to_string()
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("pkg-config failed")
        .trim()
        .to_owned()
}
