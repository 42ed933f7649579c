//! The secret of `tracera dev`, created once and kept in the data directory.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::session::fresh_secret;
use crate::private_dir;

const FILE_NAME: &str = "dev-secret";

/// Reads the secret from `data_dir`, or creates both. Processes that start together get the same
/// secret.
pub(super) fn load_or_create(data_dir: &Path) -> io::Result<SecretString> {
    let path = data_dir.join(FILE_NAME);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(data_dir, &path)?;
            // Another process may have created the file first; its content counts.
            read(&path)
        }
        _ => read(&path),
    }
}

fn read(path: &Path) -> io::Result<SecretString> {
    Ok(fs::read_to_string(path)?.trim_end().into())
}

/// Writes a temporary file and links it into place. So the file is complete when it appears, and
/// never replaces another.
fn create(data_dir: &Path, path: &Path) -> io::Result<()> {
    let secret = fresh_secret().map_err(io::Error::from)?;
    private_dir::create(data_dir)?;
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(io::Error::from)?;
    let aside = data_dir.join(format!("{FILE_NAME}.{:016x}", u64::from_ne_bytes(suffix)));
    let linked =
        write_private(&aside, secret.expose_secret()).and_then(|()| fs::hard_link(&aside, path));
    fs::remove_file(&aside)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn processes_that_start_together_agree_on_one_private_secret() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("new/data");
        let barrier = Barrier::new(8);
        let secrets: BTreeSet<String> = thread::scope(|scope| {
            let starting: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        load_or_create(&data_dir).unwrap().expose_secret().to_owned()
                    })
                })
                .collect();
            starting.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(secrets.len(), 1);
        let left: Vec<_> =
            fs::read_dir(&data_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [FILE_NAME]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&data_dir.join(FILE_NAME)), 0o600);
            assert_eq!(mode(&data_dir), 0o700);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(load_or_create(&file.join("data")).is_err());
    }
}
