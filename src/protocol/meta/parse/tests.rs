use super::*;

const BEFORE_META: Behind = Behind {
    dialect: Dialect::Old,
    meta: Generation::Nothing,
};

/// The verb, the key and what it is to be told, of a line that is understood.
fn asked(behind: Behind, line: &str) -> Result<(Verb, Vec<u8>, Options), Refusal> {
    let mut room = Room::default();
    let (len, _, parsed) = parse(behind, line.as_bytes(), &mut room).expect("a meta command");
    assert_eq!(len, line.find('\n').expect("an end") + 1);
    parsed.map(|request| (request.verb, request.key.to_vec(), request.options))
}

#[test]
fn what_servers_before_meta_can_be_asked_is_asked_of_them() {
    for (line, verb) in [
        ("mg k v f s k q O1\r\n", Verb::Get),
        ("mg k c\r\n", Verb::Gets),
        ("mg k T5 v\r\n", Verb::Gat),
        ("  mg k T5 c\r\n", Verb::Gats),
        ("ms k 1 T5 F3\r\nx\r\n", Verb::Set),
        ("ms k 1 C5\r\nx\r\n", Verb::Cas),
        ("md k q\r\n", Verb::Delete),
        ("md k x\r\n", Verb::Replace),
        ("ma k N0 T5\r\n", Verb::Incr),
        ("ma k MD\r\n", Verb::Decr),
    ] {
        let behind = Behind {
            meta: match line.contains(" x") {
                true => Generation::RemovesValues,
                false => Generation::Nothing,
            },
            ..BEFORE_META
        };
        let (asked, key, _) = asked(behind, line).unwrap_or_else(|refusal| panic!("{line}: {refusal:?}"));
        assert_eq!((asked, &key[..]), (verb, &b"k"[..]), "{line}");
    }
    for line in ["mg k t\r\n", "mg k h\r\n", "mg k N5 v\r\n", "md k C5\r\n", "ma k t\r\n"] {
        assert_eq!(asked(BEFORE_META, line), Err(Refusal::loud(ERROR)), "{line}");
    }
}

#[test]
fn a_line_is_the_same_however_it_is_cut_and_a_key_is_what_it_encodes() {
    for behind in [BEFORE_META, Behind::default()] {
        let line = "ms Zm9v 5 b T30\r\n";
        for cut in 0..line.len() {
            let mut room = Room::default();
            assert_eq!(parse(behind, &line.as_bytes()[..cut], &mut room), None, "{cut}");
        }
        let (verb, key, _) = asked(behind, line).expect("a set");
        assert_eq!((verb, &key[..]), (Verb::Set, &b"foo"[..]));
        for line in ["mg k\r\n", "mn\r\n", "ms k 5\r\n"] {
            for beginning in ["", "m", "mg", "ms", "md ", "mg k"] {
                let text = format!("{beginning}{line}");
                let behind_it = format!("{text}get k\r\n");
                let (mut one, mut other) = (Room::default(), Room::default());
                let [alone, followed] = [(&text, &mut one), (&behind_it, &mut other)]
                    .map(|(text, room)| parse(behind, text.as_bytes(), room));
                assert_eq!(alone, followed, "{text}");
            }
        }
    }
}

#[test]
fn other_lines_are_none_of_these() {
    for line in [
        "get mg\r\n",
        "mgx k\r\n",
        "mx k\r\n",
        "mk k\r\n",
        "m\r\n",
        "Mg k\r\n",
        "mg\tk\r\n",
        " \r\n",
    ] {
        assert_eq!(
            parse(BEFORE_META, line.as_bytes(), &mut Room::default()),
            None,
            "{line}"
        );
    }
    assert_eq!(parse(Behind::default(), b" mg k\r\n", &mut Room::default()), None);
    assert_eq!(parse(Behind::default(), b"mn\n", &mut Room::default()), None);
}
