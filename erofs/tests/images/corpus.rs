//! Images that once were interesting, to a fuzzer or to somebody who read the code. `fuzz/` starts from them, too.

use std::{fs, path::Path};

use crate::{common::Outcome, walk::walk};

#[test]
fn replay() -> Outcome {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut count = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let opened = walk(&fs::read(&path)?);
        let valid = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"valid-"));
        assert!(!valid || opened.is_ok(), "{}: {opened:?}", path.display());
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
    Ok(())
}
