//! What the parser knows, as shells and `man` read it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, REFUSED};

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren completions bash > /usr/share/bash-completion/completions/warren
  warren completions zsh > /usr/share/zsh/vendor-completions/_warren
  warren completions fish > ~/.config/fish/completions/warren.fish

The Debian package brings those of bash, zsh and fish.")]
pub struct Completions {
    shell: Shell,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  warren man pages && man -l pages/warren-explain.1

Writes warren.1 and a page for each command. The Debian package brings them.")]
pub struct Man {
    /// The folder for the pages; made where it is not there.
    folder: PathBuf,
}

pub fn completions(arguments: &Completions) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "warren", &mut script);
    super::say(String::from_utf8_lossy(&script).trim_end());
    ExitCode::SUCCESS
}

pub fn man(arguments: &Man) -> ExitCode {
    match write_pages(&arguments.folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", arguments.folder.display());
            ExitCode::from(REFUSED)
        }
    }
}

fn write_pages(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), folder)
}
