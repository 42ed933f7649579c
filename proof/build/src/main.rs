//! Builds the release twice in two folders and compares the results. Lists the packages in it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;

mod materials;

/// Builds the committed state twice, in two folders of different names, and compares the two
/// programs. Writes target/sbom.cdx.json, a CycloneDX list of every package in the release. Exits 0
/// if the programs are identical.
#[derive(Parser)]
#[command(name = "prove build")]
struct Arguments {
    /// Only write the list of packages.
    #[arg(long)]
    short: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let count = materials::write(&root, &root.join("target/sbom.cdx.json"))?;
    println!("{count} packages in target/sbom.cdx.json");
    if arguments.short {
        return Ok(ExitCode::SUCCESS);
    }
    let scratch = tempfile::tempdir()?;
    let mut programs = Vec::new();
    for folder in ["one", "another/folder"] {
        programs.push(std::fs::read(build(&root, &scratch.path().join(folder))?)?);
    }
    let same = programs[0] == programs[1];
    println!("{}", if same { "identical" } else { "DIFFERENT" });
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The program of the committed state, built in a new folder.
fn build(root: &Path, folder: &Path) -> Result<PathBuf> {
    let commit =
        output(Command::new("git").current_dir(root).args(["rev-parse", "--short", "HEAD"]))?;
    run(Command::new("git").args(["clone", "--quiet", "--local"]).arg(root).arg(folder))?;
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map_or_else(|| std::env::home_dir().unwrap_or_default().join(".cargo"), PathBuf::from);
    // Removes the folder and the builder's home directory from the program.
    let flags = format!(
        "--remap-path-prefix={}=/tracera --remap-path-prefix={}=/cargo",
        folder.display(),
        cargo_home.display()
    );
    run(Command::new("cargo")
        .current_dir(folder)
        .args(["build", "--profile", "dist", "--locked", "--quiet", "-p", "tracera"])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("TRACERA_COMMIT", commit)
        .env("RUSTFLAGS", flags))?;
    Ok(folder.join("target/dist/tracera"))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
