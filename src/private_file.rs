//! Files that the node makes: for its user and its group, whatever the umask
//! would leave to everybody.

use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

/// Of a new file, less what the umask takes. One that is there keeps its own:
/// that is the operator's.
const MODE: u32 = 0o640;

/// To be appended to; made where it is not there.
pub fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(MODE).open(path)
}

/// An empty one, in place of one that was left there.
pub fn create(path: &Path) -> io::Result<File> {
    match remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.create_new(true).write(true).mode(MODE).open(path)
}

/// In place of what is there. Beside the file first, and on disk before it takes
/// the name: who reads it finds the old one or the new one.
pub fn replace(file: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let beside = file.with_extension("json.new");
    let mut out = create(&beside)?;
    write(&mut out)?;
    out.sync_all()?;
    rename(&beside, file)?;
    sync_folder(file)
}

/// The same, of a value as JSON.
pub fn replace_json(file: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(file, |out| {
        let mut out = BufWriter::new(out);
        serde_json::to_writer(&mut out, value)?;
        out.flush()
    })
}

/// A file's name, too, survives a machine that goes dark.
pub fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_file_is_for_its_user_and_group() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (log, list) = (folder.path().join("log"), folder.path().join("list"));
        std::fs::write(&list, "left there").expect("written");
        let open = std::fs::Permissions::from_mode(0o666);
        std::fs::set_permissions(&list, open).expect("changed");
        for file in [append(&log), append(&log), create(&list)] {
            let kept = file.expect("opened").metadata().expect("metadata");
            assert_eq!(kept.permissions().mode() & 0o137, 0);
            assert_eq!(kept.len(), 0);
        }
    }
}
