//! The sources of variables: the process environment, a `.env` file, and files with one secret
//! each.
//!
//! The process environment has precedence. An empty value in it unsets a variable. The process
//! environment is never modified.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use secrecy::ExposeSecret;

use super::problem::{Problem, Wrong};
use super::reader::{Reader, effective, given};
use super::{
    Config, DatabaseSettings, HttpSettings, Mode, dev_secret, http, secret_file, store, unknown,
};

/// The source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The process environment.
    Process,
    /// The `.env` file.
    DotEnv,
    /// The file that `NAME_FILE` refers to.
    File,
    /// The file of the development secret.
    DevSecret,
}

/// All variables with their origins. `Debug` shows names only.
pub struct Environment {
    vars: BTreeMap<String, String>,
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
    /// Variables on refused lines of `.env`.
    refused: Vec<String>,
}

impl Environment {
    /// Reads the process environment and `.env` in the working directory.
    pub fn load() -> Self {
        Self::collect(std::env::vars_os(), Path::new(".env"))
    }

    /// Reads the given process environment and the file at `dotenv`, which need not exist.
    pub fn collect(process: impl IntoIterator<Item = (OsString, OsString)>, dotenv: &Path) -> Self {
        let mut environment = Self {
            vars: BTreeMap::new(),
            origins: BTreeMap::new(),
            problems: Vec::new(),
            refused: Vec::new(),
        };
        match fs::read_to_string(dotenv) {
            Ok(text) => environment.add_file(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let wrong = Wrong::new(
                    format!("cannot be read ({error})"),
                    "make it readable UTF-8, or remove it",
                );
                environment.problems.push(Problem::new(".env", wrong));
            }
        }
        environment.add_process(process);
        environment.add_secret_files();
        environment
    }

    /// Overrides variables.
    pub fn replace(&mut self, values: Vec<(&'static str, String)>) {
        for (name, value) in values {
            self.origins.insert(name.to_owned(), Origin::Process);
            self.vars.insert(name.to_owned(), value);
        }
    }

    /// Parses the settings for `mode`.
    ///
    /// # Errors
    /// All problems of `.env` and of [`Config::from_vars`].
    pub fn config(&self, mode: Mode) -> Result<Config, Vec<Problem>> {
        match Config::from_vars(&self.vars, mode) {
            Ok(config) if self.problems.is_empty() => Ok(config),
            Ok(_) => Err(self.problems.clone()),
            Err(problems) => {
                // A variable whose file or line could not be read is not reported as missing too.
                let is_new = |problem: &Problem| {
                    let name = problem.subject();
                    let file = format!("{name}_FILE");
                    let was_refused =
                        self.refused.iter().any(|it| it == name) && self.given(name).is_none();
                    !was_refused && !self.problems.iter().any(|known| known.subject() == file)
                };
                Err(self
                    .problems
                    .iter()
                    .cloned()
                    .chain(problems.into_iter().filter(is_new))
                    .collect())
            }
        }
    }

    /// Parses the settings of the database alone. Only problems with its variables and with unknown
    /// names count.
    ///
    /// # Errors
    /// All such problems.
    pub fn database(&self) -> Result<DatabaseSettings, Vec<Problem>> {
        let uses = |subject: &str| {
            let name = subject.strip_suffix("_FILE").unwrap_or(subject);
            ["DATABASE_URL", "DATABASE_MAX_CONNECTIONS", "DATA_DIR"].contains(&name)
                || !unknown::is_known(subject)
        };
        let mut reader = Reader::new(&self.vars, Mode::Serve);
        let settings = store::read_database(&mut reader);
        let collected = self.problems.iter().filter(|problem| uses(problem.subject())).cloned();
        let problems: Vec<_> =
            collected.chain(reader.problems).chain(unknown::in_environment(&self.vars)).collect();
        match settings {
            Ok(settings) if problems.is_empty() => Ok(settings),
            _ => Err(problems),
        }
    }

    /// Sets `SESSION_SECRET` to the development secret in `DATA_DIR`, unless it is set. Creates the
    /// secret if necessary.
    ///
    /// # Errors
    /// When the file can be neither read nor created.
    pub fn ensure_dev_secret(&mut self) -> io::Result<()> {
        if given(&self.vars, "SESSION_SECRET").is_some() {
            return Ok(());
        }
        let data_dir = effective(&self.vars, "DATA_DIR").map(PathBuf::from).unwrap_or_default();
        let secret = dev_secret::load_or_create(&data_dir)?;
        self.set("SESSION_SECRET".to_owned(), secret.expose_secret().to_owned(), Origin::DevSecret);
        Ok(())
    }

    /// Parses the HTTP settings of the server that runs with this environment.
    ///
    /// # Errors
    /// The problems with its variables.
    pub fn http(&self) -> Result<HttpSettings, Vec<Problem>> {
        let mut reader = Reader::new(&self.vars, Mode::Serve);
        http::read(&mut reader).map_err(|_| reader.problems)
    }

    /// The value of a variable; an empty one counts as unset.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        given(&self.vars, name)
    }

    /// The value of a variable, or the table's default.
    pub(super) fn effective(&self, name: &str) -> Option<&str> {
        effective(&self.vars, name)
    }

    /// The source of a variable's value, if it is set.
    pub fn origin(&self, name: &str) -> Option<Origin> {
        self.given(name).and_then(|_| self.origins.get(name).copied())
    }

    fn set(&mut self, name: String, value: String, origin: Origin) {
        self.origins.insert(name.clone(), origin);
        self.vars.insert(name, value);
    }

    fn add_process(&mut self, process: impl IntoIterator<Item = (OsString, OsString)>) {
        for (name, value) in process {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => self.set(name, value, Origin::Process),
                Err(_) if unknown::is_known(&name) => {
                    let wrong = Wrong::new("is not UTF-8", "write it in UTF-8");
                    self.problems.push(Problem::new(&name, wrong));
                }
                Err(_) => {}
            }
        }
    }

    fn add_secret_files(&mut self) {
        for (row, file) in secret_file::candidates() {
            let Some(path) = self.given(&file) else { continue };
            let read = match self.given(row.name) {
                Some(_) => {
                    Err(Wrong::new(format!("is set beside {}", row.name), "keep one of the two"))
                }
                None => secret_file::read(path),
            };
            match read {
                Ok(value) => self.set(row.name.to_owned(), value, Origin::File),
                Err(wrong) => self.problems.push(Problem::new(&file, wrong)),
            }
        }
    }

    fn add_file(&mut self, text: &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let subject = format!(".env line {}", index + 1);
            match parse_line(line) {
                Ok(None) => {}
                Ok(Some((name, _))) if self.vars.contains_key(&name) => {
                    let wrong = Wrong::new(format!("sets {name} again"), "keep one of the lines");
                    self.problems.push(Problem::new(&subject, wrong));
                }
                Ok(Some((name, value))) => match unknown::in_file(&name) {
                    Some(problem) => self.problems.push(problem),
                    None => self.set(name, value, Origin::DotEnv),
                },
                Err(wrong) => {
                    self.refused.extend(named_in(line).map(ToOwned::to_owned));
                    self.problems.push(Problem::new(&subject, wrong));
                }
            }
        }
    }
}

/// The variable that a malformed line was probably meant to set.
fn named_in(line: &str) -> Option<&str> {
    let name = line.split_once('=')?.0.trim();
    Some(name.strip_prefix("export ").map_or(name, str::trim_start))
}

/// Parses a single line, so that problems have line numbers and one line cannot swallow the next.
/// Messages omit the line, which may contain a secret.
fn parse_line(line: &str) -> Result<Option<(String, String)>, Wrong> {
    let value = line.split_once('=').map_or("", |(_, value)| value.trim());
    let literal = value.len() > 1 && value.starts_with('\'') && value.ends_with('\'');
    if value.contains('$') && !literal && !line.trim_start().starts_with('#') {
        // The parser would substitute another variable's value, or nothing.
        return Err(Wrong::new("holds a $ outside single quotes", "write NAME='value'"));
    }
    // Without the line feed, the parser refuses trailing white space.
    let line = format!("{line}\n");
    dotenvy::from_read_iter(line.as_bytes()).next().transpose().map_err(|_| {
        Wrong::new("is malformed", "write NAME=value, or NAME='value' with white space in it")
    })
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("origins", &self.origins).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "kS0vV3y1QmZbq2nD8rTfXh5LwJ7cEu9A";

    fn collect(process: &[(&str, &str)], file: &str) -> Environment {
        let folder = tempfile::tempdir().unwrap();
        let dotenv = folder.path().join(".env");
        fs::write(&dotenv, file).unwrap();
        let process =
            process.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Environment::collect(process, &dotenv)
    }

    fn problems(environment: &Environment) -> Vec<String> {
        let problems = environment.config(Mode::Serve).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_process_wins_over_the_file_even_with_an_empty_value() {
        let file = format!(
            "\u{feff}# comment with $\r\n\r\nexport SESSION_SECRET='{SECRET}' # \
             ours\r\nSESSION_IDLE_MINUTES=5  \r\nLOG_FORMAT=json\r\n"
        );
        let environment = collect(&[("SESSION_IDLE_MINUTES", "7"), ("LOG_FORMAT", "")], &file);
        let config = environment.config(Mode::Serve).unwrap();
        assert_eq!(config.session.secret.expose_secret(), SECRET);
        assert_eq!(config.session.idle.unwrap().as_secs(), 7 * 60);
        assert_eq!(config.log.format, None);
        assert_eq!(environment.origin("SESSION_SECRET"), Some(Origin::DotEnv));
        assert_eq!(environment.origin("SESSION_IDLE_MINUTES"), Some(Origin::Process));
        assert_eq!(environment.origin("LOG_FORMAT"), None);
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number_and_not_repeated() {
        for line in [
            "canary",
            "=canary",
            "RESEND_API_KEY 'canary'",
            "RESEND_API_KEY='canary",
            "RESEND_API_KEY=canary canary",
            "RESEND_API_KEY=canary$HOME",
            "RESEND_API_KEY=\"canary$HOME\"",
            "SESSION_SECRET=canary",
        ] {
            let environment =
                collect(&[], &format!("SESSION_SECRET='{SECRET}'\n{line}\nLOG_FORMAT=json\n"));
            let problems = problems(&environment);
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert!(problems[0].starts_with(".env line 2 "), "{problems:?}");
            assert!(!problems[0].contains("canary"), "{problems:?}");
            assert!(!format!("{environment:?}").contains("canary"));
        }
    }

    #[test]
    fn what_stands_on_a_refused_line_is_not_missing_besides() {
        let url = "SMTP_URL=smtps://mail.example";
        for line in ["MAIL_FROM=Name <a@b.example>", " export MAIL_FROM = \"Name <a@b.example>"] {
            let environment = collect(&[("SESSION_SECRET", SECRET)], &format!("{url}\n{line}\n"));
            let problems = problems(&environment);
            assert!(problems.len() == 1 && problems[0].starts_with(".env line 2 "), "{problems:?}");
        }
        let quoted = format!("{url}\nMAIL_FROM=\"Name <a@b.example>\"\n");
        assert_eq!(
            problems(&collect(&[("SESSION_SECRET", SECRET)], &quoted)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_unknown_name_in_the_file_is_a_problem() {
        let environment = collect(&[("SESSION_SECRET", SECRET)], "FOREIGN=1\nSMPT_URL=x\n");
        let problems = problems(&environment);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("FOREIGN is not a variable"), "{problems:?}");
        assert!(problems[1].contains("did you mean SMTP_URL?"), "{problems:?}");
    }

    #[test]
    fn a_value_in_single_quotes_is_literal() {
        let environment = collect(&[], "RESEND_API_KEY='a$HOME#b c'\n");
        assert_eq!(environment.given("RESEND_API_KEY"), Some("a$HOME#b c"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem_and_a_missing_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let process = || [(OsString::from("SESSION_SECRET"), OsString::from(SECRET))];
        let unreadable = Environment::collect(process(), folder.path());
        assert!(
            problems(&unreadable)[0].starts_with(".env cannot be read"),
            "{:?}",
            problems(&unreadable)
        );
        let missing = Environment::collect(process(), &folder.path().join(".env"));
        assert_eq!(problems(&missing), Vec::<String>::new());
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let secret = file("secret", &format!("{SECRET}\r\n"));
        let redis = file("redis", "redis://:canary@redis.example/2");
        let process =
            [("SESSION_SECRET_FILE", &*secret), ("REDIS_URL_FILE", &redis), ("REDIS_URL", "")];
        let environment = collect(&process, "");
        assert_eq!(problems(&environment), Vec::<String>::new());
        assert_eq!(environment.config(Mode::Serve).unwrap().session.secret.expose_secret(), SECRET);
        assert_eq!(environment.given("REDIS_URL"), Some("redis://:canary@redis.example/2"));
        assert_eq!(environment.origin("SESSION_SECRET"), Some(Origin::File));
        let in_dotenv = collect(&[], &format!("SESSION_SECRET_FILE={secret}\n"));
        assert_eq!(problems(&in_dotenv), Vec::<String>::new());
    }

    #[test]
    fn a_secret_file_that_is_no_help_is_one_problem_with_its_name_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (empty, latin) = (file("empty", b"\n"), file("latin", b"canary\xff"));
        let large = file("large", "x".repeat(65 * 1024).as_bytes());
        for (path, complaint) in [
            (
                "/nonexistent/canary",
                "SESSION_SECRET_FILE names a file that cannot be read (No such file",
            ),
            (&*empty, "SESSION_SECRET_FILE names an empty file; put the value"),
            (
                &*latin,
                "SESSION_SECRET_FILE names a file that cannot be read (stream did not contain \
                 valid UTF-8",
            ),
            (&*large, "SESSION_SECRET_FILE names a file of more than 64 KiB; "),
        ] {
            let problems = problems(&collect(&[("SESSION_SECRET_FILE", path)], ""));
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(complaint), "{problems:?}");
            assert!(!problems[0].contains("canary"), "{problems:?}");
        }
        let both = collect(&[("SESSION_SECRET_FILE", &empty), ("SESSION_SECRET", SECRET)], "");
        assert_eq!(
            problems(&both),
            ["SESSION_SECRET_FILE is set beside SESSION_SECRET; keep one of the two"]
        );
        let public = collect(&[("SESSION_SECRET", SECRET)], "BASE_URL_FILE=x\n");
        assert!(
            problems(&public)[0].starts_with("BASE_URL_FILE is not a variable"),
            "no secret, no file"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_value_that_is_not_utf_8_is_a_problem_only_for_our_names() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = || OsString::from_vec(vec![0xff]);
        let process = [
            (OsString::from("SESSION_SECRET"), OsString::from(SECRET)),
            (OsString::from("LOG_FORMAT"), bytes()),
            (OsString::from("FOREIGN"), bytes()),
            (bytes(), bytes()),
        ];
        let environment = Environment::collect(process, Path::new("/nonexistent/.env"));
        assert_eq!(problems(&environment), ["LOG_FORMAT is not UTF-8; write it in UTF-8"]);
    }

    #[test]
    fn the_development_secret_is_used_only_when_none_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().to_str().unwrap();
        let mut first = collect(&[("DATA_DIR", data_dir)], "");
        first.ensure_dev_secret().unwrap();
        let made = first.given("SESSION_SECRET").unwrap().to_owned();
        assert!(first.config(Mode::Dev).is_ok());
        assert_eq!(first.origin("SESSION_SECRET"), Some(Origin::DevSecret));
        let mut second = collect(&[("DATA_DIR", data_dir)], "");
        second.ensure_dev_secret().unwrap();
        assert_eq!(second.given("SESSION_SECRET"), Some(&*made));
        let mut own = collect(&[("DATA_DIR", data_dir), ("SESSION_SECRET", SECRET)], "");
        own.ensure_dev_secret().unwrap();
        assert_eq!(own.given("SESSION_SECRET"), Some(SECRET));
    }
}
