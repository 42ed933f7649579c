//! The command line.
//!
//! 1. Settings come from [`crate::config`]; no option duplicates a variable.
//! 2. A refused configuration is reported as one line per problem on stderr, with exit status 2. A
//!    server that cannot start exits with status 1.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secrecy::ExposeSecret;

pub mod healthcheck;

use crate::config::{
    Config, DatabaseSettings, Environment, Mode, Problem, fresh_secret, help_text, report,
};
use crate::demo::Demo;
use crate::operator::user_selector::UserSelector;
use crate::store::newest_migration;
use crate::{operator, start};

/// Exit status when a server or a store could not be started or reached.
pub const EXIT_COULD_NOT_START: u8 = 1;
/// Exit status for a refused configuration or command line.
pub const EXIT_CONFIGURATION: u8 = 2;

/// The end of the help of commands that do not list the variables.
const SEE_VARIABLES: &str = "Environment variables configure it; `tracera --help` lists them.";

/// Counter-Strike 2 skin portfolio server.
#[derive(Debug, Parser)]
#[command(name = "tracera", version, after_long_help = help_text(), arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run on this machine with everything embedded and nothing to configure.
    #[command(after_help = SEE_VARIABLES)]
    Dev {
        /// With an inventory, prices, 60 days of history and a stand-in for Steam's sign-in.
        #[arg(long)]
        demo: bool,
    },
    /// Run the server; strict about its configuration.
    #[command(after_long_help = help_text())]
    Serve,
    /// Say what `serve` would do with this environment, without secrets.
    #[command(after_help = SEE_VARIABLES)]
    CheckConfig {
        /// Also try Redis, the database, mail, the price feed and providers' discovery.
        #[arg(long)]
        connect: bool,
    },
    /// Send one mail and print what the mail server says.
    #[command(after_help = SEE_VARIABLES)]
    SendTestMail {
        /// The recipient.
        address: String,
    },
    /// Ask the running server at `LISTEN_ADDR` whether it is well; for containers.
    Healthcheck,
    /// Print a fresh secret for `SESSION_SECRET`.
    Secret,
    /// List or end a user's sessions.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// List, show, disable or delete users.
    #[command(subcommand)]
    Users(UsersCommand),
    /// Copy the embedded stores, also while the server runs.
    #[command(after_help = SEE_VARIABLES)]
    Backup {
        /// A new directory, which then serves as `DATA_DIR`.
        directory: PathBuf,
    },
    /// Print the version; with `--verbose` also what it was built from.
    Version {
        /// Also commit, platform and newest migration.
        #[arg(long)]
        verbose: bool,
    },
    /// Print the completions for a shell.
    Completions {
        /// Which one.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Manpage,
    /// Bring the database up to date; asks only for `DATABASE_URL` and `DATA_DIR`.
    #[command(after_help = SEE_VARIABLES)]
    Migrate,
}

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List a user's sessions.
    #[command(after_help = SEE_VARIABLES)]
    List {
        /// E-mail address or id of the user.
        #[arg(long)]
        user: UserSelector,
    },
    /// End a user's sessions, or everybody's.
    #[command(after_help = SEE_VARIABLES)]
    Revoke {
        /// E-mail address or id of the user.
        #[arg(long, required_unless_present = "everybody")]
        user: Option<UserSelector>,
        /// End only the session with this handle, as `list` shows it.
        #[arg(long, requires = "user")]
        handle: Option<String>,
        /// End all sessions of all users.
        #[arg(long, conflicts_with = "user")]
        everybody: bool,
    },
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// List all users.
    #[command(after_help = SEE_VARIABLES)]
    List,
    /// Show what is known of a user.
    #[command(after_help = SEE_VARIABLES)]
    Show(OneUser),
    /// Let nobody into the account, and end its sessions.
    #[command(after_help = SEE_VARIABLES)]
    Disable(OneUser),
    /// Undo `disable`.
    #[command(after_help = SEE_VARIABLES)]
    Enable(OneUser),
    /// Remove the account and everything that belongs to it.
    #[command(after_help = SEE_VARIABLES)]
    Delete(OneUser),
    /// Remove a user's passkeys, recovery codes and API tokens, turn "passkey only" off, and end
    /// their sessions.
    #[command(after_help = SEE_VARIABLES)]
    ResetWaysIn(OneUser),
}

/// One user.
#[derive(Debug, clap::Args)]
pub struct OneUser {
    /// E-mail address or id of the user.
    #[arg(long)]
    pub user: UserSelector,
}

/// Loads the settings for `mode`; in dev mode with a secret of its own.
///
/// # Errors
/// The exit status, after the problems were printed on stderr.
pub fn load_config(mode: Mode) -> Result<Config, ExitCode> {
    config_of(Environment::load(), mode)
}

/// Starts the demo's stand-ins, and loads its settings.
///
/// # Errors
/// The exit status, after the problem was printed on stderr.
pub async fn load_demo() -> Result<(Config, Demo), ExitCode> {
    let mut environment = Environment::load();
    let data_dir = environment.given("DATA_DIR").unwrap_or("./data").to_owned();
    let demo = Demo::start(data_dir.as_ref()).await.map_err(|error| {
        complain(&format!("cannot start the demo in DATA_DIR: {error}"));
        ExitCode::from(EXIT_COULD_NOT_START)
    })?;
    environment.replace(demo.variables(data_dir.as_ref()));
    Ok((config_of(environment, Mode::Dev)?, demo))
}

fn config_of(mut environment: Environment, mode: Mode) -> Result<Config, ExitCode> {
    if mode == Mode::Dev
        && let Err(error) = environment.ensure_dev_secret()
    {
        complain(&format!("cannot keep a development secret in DATA_DIR: {error}"));
        return Err(EXIT_COULD_NOT_START.into());
    }
    environment.config(mode).map_err(|problems| refuse(&problems))
}

/// Loads the settings of the database alone.
///
/// # Errors
/// The exit status, after the problems were printed on stderr.
pub fn load_database() -> Result<DatabaseSettings, ExitCode> {
    Environment::load().database().map_err(|problems| refuse(&problems))
}

/// Runs `tracera check-config`; with `connect` also checks the configured services.
pub async fn check_config(connect: bool) -> ExitCode {
    let environment = Environment::load();
    let config = environment.config(Mode::Serve);
    let printed = print(&report(&environment, &config));
    // The report contains the problems.
    let Ok(config) = config else { return EXIT_CONFIGURATION.into() };
    if let Err(error) = start::check_files(&config) {
        complain(&error.to_string());
        return EXIT_CONFIGURATION.into();
    }
    if !connect {
        return printed;
    }
    let connections = Box::pin(operator::connections::try_all(&config)).await;
    let printed = print(&connections.to_string());
    if connections.would_serve() { printed } else { EXIT_COULD_NOT_START.into() }
}

/// Runs `tracera healthcheck`: exit status 0 or 1, as Docker expects.
pub async fn check_health() -> ExitCode {
    let http = match Environment::load().http() {
        Ok(http) => http,
        Err(problems) => {
            refuse(&problems);
            return EXIT_COULD_NOT_START.into();
        }
    };
    match healthcheck::ask(&http).await {
        Ok(answer) => print(&format!("{answer}\n")),
        Err(error) => could_not_start(&error),
    }
}

/// Runs `tracera version`.
pub fn print_version(command: &clap::Command, commit: Option<&str>, verbose: bool) -> ExitCode {
    if !verbose {
        return print(&command.render_version());
    }
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    print(&format!(
        "version    {}\ncommit     {}\nplatform   {} {}\nbuild      {build}\nmigration  {}\n",
        env!("CARGO_PKG_VERSION"),
        commit.unwrap_or("unknown"),
        std::env::consts::ARCH,
        std::env::consts::OS,
        newest_migration(),
    ))
}

/// Runs `tracera completions`.
pub fn print_completions(mut command: clap::Command, shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tracera", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Runs `tracera manpage`.
pub fn print_manual(command: clap::Command) -> ExitCode {
    let mut page = Vec::new();
    match clap_mangen::Man::new(command).render(&mut page) {
        Ok(()) => print(&String::from_utf8_lossy(&page)),
        Err(error) => could_not_start(&error),
    }
}

/// Runs `tracera secret`.
pub fn print_secret() -> ExitCode {
    match fresh_secret() {
        Ok(secret) => print(&format!("{}\n", secret.expose_secret())),
        Err(error) => {
            complain(&format!("the system has no random numbers: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs an operator's command with these settings, and prints its result.
pub async fn operate<T, E: Display>(
    settings: Result<T, ExitCode>,
    command: impl AsyncFnOnce(T) -> Result<String, E>,
) -> ExitCode {
    let settings = match settings {
        Ok(settings) => settings,
        Err(status) => return status,
    };
    match command(settings).await {
        Ok(answer) => print(&answer),
        Err(error) => could_not_start(&error),
    }
}

/// Prints why something failed, and returns the exit status.
pub fn could_not_start(error: &impl Display) -> ExitCode {
    complain(&error.to_string());
    EXIT_COULD_NOT_START.into()
}

fn refuse(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        complain(&problem.to_string());
    }
    EXIT_CONFIGURATION.into()
}

fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Prints one line, even if a library's message has several.
fn complain(text: &str) {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Without stderr there is no one to tell.
    let _ = writeln!(io::stderr(), "tracera: {line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use uuid::Uuid;

    use super::*;
    use crate::config::sections;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn long_help_names_every_variable_with_default_and_unit() {
        let help = Cli::command().render_long_help().to_string();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for row in sections().iter().flat_map(|section| section.variables) {
            assert!(help.lines().any(|line| line.trim() == row.name), "{}", row.name);
            assert!(words.contains(row.unit), "{}: {}", row.name, row.unit);
        }
        assert!(words.contains(
            "SESSION_LIFETIME_HOURS How long a session lasts at most. Default: 72. Value: hours"
        ));
    }

    #[test]
    fn a_user_is_an_address_or_an_id() {
        let id = Uuid::from_u128(7);
        let parse = |user: &str| {
            let line = ["tracera", "sessions", "revoke", "--user", user, "--handle", "h"];
            match Cli::try_parse_from(line).ok()?.command {
                Command::Sessions(SessionsCommand::Revoke { user: Some(user), handle, .. }) => {
                    Some((user, handle))
                }
                _ => None,
            }
        };
        let handle = Some("h".to_owned());
        assert_eq!(parse(&id.to_string()), Some((UserSelector::Id(id), handle.clone())));
        assert_eq!(
            parse("a@b.example"),
            Some((UserSelector::Email("a@b.example".to_owned()), handle))
        );
        assert_eq!(parse("somebody"), None);
        for incomplete in [
            &["sessions", "list"][..],
            &["sessions", "revoke"],
            &["sessions", "revoke", "--everybody", "--user", "a@b.example"],
            &["users", "delete"],
        ] {
            let line = ["tracera"].iter().chain(incomplete);
            assert!(Cli::try_parse_from(line).is_err(), "{incomplete:?}");
        }
    }
}
