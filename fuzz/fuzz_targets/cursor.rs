//! Any text as a cursor and a query string.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracebucket::kit::web::cursor::{Cursor, PageRequest};

fuzz_target!(|input: (&str, &str)| {
    let (cursor, query) = input;
    if let Ok(cursor) = cursor.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    let Ok(request) = PageRequest::from_query(Some(cursor), Some(query)) else {
        return;
    };
    let header = request
        .offset_page(vec![0; 101])
        .link_header("https://h/", query);
    assert_eq!(header.matches("rel=\"").count(), 2);
    assert!(
        header
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    );
    let _ = request.keyed_page(vec![1_i64, 2, 3], |row| *row);
});
