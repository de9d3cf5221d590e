use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

#[test]
fn every_kind_of_answer_is_known() {
    for (text, status) in [
        (&b"END\r\n"[..], Status::End),
        (b"STORED\r\n", Status::Stored),
        (b"NOT_STORED\r\n", Status::NotStored),
        (b"EXISTS\r\n", Status::Exists),
        (b"EX\r\n", Status::Exists),
        (b"NF \r\n", Status::NotFound),
        (b"NOT_FOUND\r\n", Status::NotFound),
        (b"DELETED\r\n", Status::Deleted),
        (b"TOUCHED\r\n", Status::Touched),
        (b"OK\r\n", Status::Ok),
        (b"42\r\n", Status::Number),
        (b"VERSION 1.6.18\r\n", Status::Version),
        (b"EN\r\n", Status::MetaMiss),
        (b"HD\r\n", Status::MetaHit),
        (b"ME k exp=-1\r\n", Status::MetaDebug),
        (b"STAT pid 7\r\n", Status::Stat),
        (b"ERROR\r\n", Status::Error),
        (b"SERVER_ERROR out of memory storing object\r\n", Status::Error),
        (b"CLIENT_ERROR bad data chunk\r\n", Status::Error),
    ] {
        let (len, response) = parse(text).unwrap().unwrap();
        assert_eq!((len, response.status, response.value_len), (text.len(), status, None));
    }
}

#[test]
fn values_tell_their_key_and_length() {
    let (len, response) = parse(b"VALUE k 7 5 99\r\nhello\r\nEND\r\n").unwrap().unwrap();
    assert_eq!(
        (len, response.status, response.key, response.value_len),
        (16, Status::Value, &b"k"[..], Some(5))
    );
    let (_, response) = parse(b"VA 5 t-1 f7\r\n").unwrap().unwrap();
    assert_eq!((response.status, response.value_len), (Status::MetaValue, Some(5)));
    assert_eq!(
        (response.ttl_s, response.flags, response.unique),
        (Some(-1), Some(7), None)
    );
}

#[test]
fn meta_flags_are_found_with_and_without_a_value() {
    for line in [&b"HD c7\r\n"[..], b"VA 1 c7\r\n"] {
        let (_, response) = parse(line).unwrap().unwrap();
        assert_eq!(response.meta_flag(b'c'), Some(&b"7"[..]));
        assert_eq!(response.meta_flag(b't'), None);
    }
}

#[test]
fn what_is_stored_tells_its_unique_however_it_is_read() {
    for text in [
        &b"HD c0\r\n"[..],
        b"HD c7\r\nHD c8\r\n",
        b"HD c18446744073709551615\r\n",
        b"HD c18446744073709551616\r\n",
        b"HD c07\r\n",
        b"HD c\r\n",
        b"HD c7 \r\n",
        b"HD c7 t-1\r\n",
        b"HD c7\n",
        b"HD c7\r\r\n",
        b"HD c7\r",
        b"HD c7",
    ] {
        let known = stored_with_unique(text);
        assert!(
            known.is_none() || known.map(Ok) == parse_any(text),
            "{}",
            text.escape_ascii()
        );
        assert_eq!(parse(text), parse_any(text), "{}", text.escape_ascii());
    }
    assert!(stored_with_unique(b"HD c7\r\n").is_some());
}

#[test]
fn numbers_are_what_a_server_writes() {
    assert_eq!(
        (unsigned(b"0"), unsigned(b"18446744073709551615")),
        (Some(0), Some(u64::MAX))
    );
    assert_eq!((flags(b"4294967295"), flags(b"4294967296")), (Some(u32::MAX), None));
    for odd in [
        &b""[..],
        b"-0",
        b"+5",
        b"05",
        b"00",
        b"5 ",
        b"5x",
        b"-",
        b"18446744073709551616",
    ] {
        assert_eq!((unsigned(odd), signed(odd)), (None, None), "{}", odd.escape_ascii());
    }
    assert_eq!((unsigned(b"-5"), signed(b"-5")), (None, Some(-5)));
    assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
    assert_eq!(
        (signed(b"9223372036854775808"), signed(b"-9223372036854775809")),
        (None, None)
    );
}

#[test]
fn what_no_memcached_writes_is_garbage() {
    for text in [
        "VALUE k 0 -0",
        "VALUE k 0 +5",
        "VALUE k 0 05",
        "VALUE k 0 5 ",
        "VALUE k 0 5 7 8",
        "VALUE k 0 5 -7",
        "VALUE k -1 5",
        "VALUE k 4294967296 5",
        "VALUE  0 5",
        "VALUE k 0 1073741825",
        "VALUE k 0 18446744073709551616",
        "VA -0 t-1",
        "VA 5 t-2",
        "VA 5 t",
        "VA 5 t-1 f",
        "VA 5 t-1 f-1",
        "VA 5 t-1 f4294967296",
        "VA 5 t-1 f0\x0b0",
        "VA 5 c-1",
        "HD c07",
        "OK t9223372036854775808",
        "VA",
        "STORED k",
        "END 1",
        "DELETED ",
        " STORED",
        "42 ",
        "042",
        "-1",
        "18446744073709551616",
        "stored",
        "",
    ] {
        assert_eq!(parse(format!("{text}\r\n").as_bytes()), Some(Err(Garbage)), "{text:?}");
    }
    assert_eq!(parse(b"STORED\n"), Some(Err(Garbage)), "a line ends with both");
    let long = format!("VALUE {} 0 5\r\n", "k".repeat(KEY_BYTES_MAX + 1));
    assert_eq!(parse(long.as_bytes()), Some(Err(Garbage)));
    let longest = format!(
        "VALUE {} 4294967295 1073741824 {}\r\n",
        "k".repeat(KEY_BYTES_MAX),
        u64::MAX
    );
    assert_eq!(parse(&longest.as_bytes()[..longest.len() - 1]), None);
    assert!(parse(longest.as_bytes()).unwrap().is_ok());
    assert_eq!(
        parse(&[b"VALUE ", &[b'k'; VALUE_LINE_BYTES_MAX][..]].concat()),
        Some(Err(Garbage))
    );
}

/// A VALUE line, read in the plainest way.
fn plainly_read(line: &str) -> Option<(&str, u32, usize, Option<u64>)> {
    let number = |word: &&str| word.parse().ok().filter(|number: &u64| number.to_string() == **word);
    let words: Vec<&str> = line.split(' ').collect();
    let (key, numbers) = match &words[..] {
        ["VALUE", key, numbers @ ..] if (1..=KEY_BYTES_MAX).contains(&key.len()) => (*key, numbers),
        _ => return None,
    };
    let (flags, len, unique) = match numbers {
        [flags, len] => (number(flags)?, number(len)?, None),
        [flags, len, unique] => (number(flags)?, number(len)?, Some(number(unique)?)),
        _ => return None,
    };
    let len = usize::try_from(len).ok().filter(|&len| len <= 1 << 30)?;
    Some((key, u32::try_from(flags).ok()?, len, unique))
}

/// A word of such a line: mostly one that may be there.
fn word() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        0..12_u64,
        any::<u64>(),
        1 << 30..(1 << 30) + 2_u64,
        1 << 32..(1 << 32) + 2_u64
    ];
    prop_oneof![
        8 => number.prop_map(|number| number.to_string()),
        4 => vec(0_u8..0x7f, 1..40).prop_map(|bytes| bytes.iter().map(|&byte| char::from(byte)).collect()),
        1 => (249..=252_usize).prop_map(|len| "k".repeat(len)),
        1 => select(vec!["", "00", "-1", "+1", "18446744073709551616", "0\r", "\n"]).prop_map(String::from),
    ]
}

proptest! {
    #[test]
    fn values_are_what_a_plain_reading_makes_of_them(
        words in vec(word(), 0..6),
        end in select(vec!["\r\n", "\r\n", "\r\n", "\n", "\r\r\n", " \r\n", "\r", ""]),
    ) {
        let text = format!("VALUE {}{end}", words.join(" "));
        let expected = text.split_once('\n').map(|(line, _)| line.strip_suffix('\r').and_then(|line| Some((line, plainly_read(line)?))));
        let Some(expected) = expected else {
            let too_long = text.len() > VALUE_LINE_BYTES_MAX;
            prop_assert_eq!(parse(text.as_bytes()), too_long.then_some(Err(Garbage)));
            return Ok(());
        };
        let told = parse(text.as_bytes()).expect("a whole line").ok();
        let told = told.map(|(len, answer)| (len, answer.line, answer.key, answer.flags, answer.value_len, answer.unique));
        let expected = expected.map(|(line, (key, flags, len, unique))| {
            (line.len() + LINE_END.len(), line.as_bytes(), key.as_bytes(), Some(flags), Some(len), unique)
        });
        prop_assert_eq!(told, expected);
    }
}

#[test]
fn what_is_told_twice_was_told_first() {
    let (_, response) = parse(b"HD s7 sx f1 f2 c3 cx t-1 t5 ka kb k\r\n").unwrap().unwrap();
    assert_eq!((response.key, response.size), (&b"a"[..], Some(7)));
    assert_eq!(
        (response.flags, response.unique, response.ttl_s),
        (Some(1), Some(3), Some(-1))
    );
    let (_, response) = parse(b"HD k kb sx s7\r\n").unwrap().unwrap();
    assert_eq!((response.key, response.size), (&b""[..], None));
}

#[test]
fn garbage_is_told_from_an_unfinished_line() {
    assert_eq!(parse(b"VALU"), None);
    assert_eq!(parse(b"HTTP/1.1 400 Bad Request\r\n"), Some(Err(Garbage)));
    assert_eq!(parse(b"VALUE k x 5\r\n"), Some(Err(Garbage)));
    assert_eq!(parse(b"VALUE k 0\r\n"), Some(Err(Garbage)));
    assert_eq!(parse(&[b'x'; 4000]), Some(Err(Garbage)));
}
