//! What is stored: objects, their buckets, and handlers in place of objects.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::answer::Handler;
use super::object::{Object, content_type_of};

#[derive(Default)]
pub(super) struct Shelf {
    objects: HashMap<String, Arc<Object>>,
    buckets: BTreeSet<String>,
    handlers: Vec<(String, Handler)>,
}

impl Shelf {
    pub fn put(&mut self, path: &str, object: Object) {
        let path = rooted(path);
        if let Some((bucket, _)) = path[1..].split_once('/') {
            self.buckets.insert(bucket.to_owned());
        }
        self.objects.insert(path, Arc::new(object));
    }

    pub fn remove(&mut self, path: &str) -> bool {
        self.objects.remove(&rooted(path)).is_some()
    }

    pub fn object(&self, path: &str) -> Option<Arc<Object>> {
        self.objects.get(path).cloned()
    }

    pub fn has_bucket(&self, bucket: &str) -> bool {
        self.buckets.contains(bucket)
    }

    pub fn on(&mut self, path: &str, handler: Handler) {
        self.handlers.push((path.to_owned(), handler));
    }

    /// The handler of `path` registered last.
    pub fn handler(&self, path: &str) -> Option<Handler> {
        let takes = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == pattern,
        };
        let mut newest_first = self.handlers.iter().rev();
        newest_first
            .find(|(pattern, _)| takes(pattern))
            .map(|(_, handler)| Arc::clone(handler))
    }
}

/// Every file below `directory` with its path: `root`'s parts, as far as they are not empty, then
/// the file's own.
pub(super) fn read_tree(root: &[&str], directory: &Path) -> io::Result<Vec<(String, Object)>> {
    let parts = root
        .iter()
        .map(|part| part.trim_matches('/'))
        .filter(|part| !part.is_empty());
    let root: String = parts.flat_map(|part| ["/", part]).collect();
    let mut objects = Vec::new();
    read_branch(&root, directory, &mut objects)?;
    Ok(objects)
}

fn read_branch(
    root: &str,
    directory: &Path,
    objects: &mut Vec<(String, Object)>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = format!("{root}/{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_branch(&path, &entry.path(), objects)?;
        } else if kind.is_file() {
            let object = Object::new(std::fs::read(entry.path())?, content_type_of(&path));
            objects.push((
                path,
                object.with_last_modified(entry.metadata()?.modified()?),
            ));
        }
    }
    Ok(())
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}
