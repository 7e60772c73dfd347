use proptest::prelude::*;
use serde_json::json;

use super::*;

fn fill(template: &str, data: &Value) -> Result<String, InvalidTemplate> {
    Template::parse(template)?.fill(data)
}

fn data() -> Value {
    json!({
        "ID": "4f", "State": {"Status": "running", "Pid": 7, "Health": null},
        "Names": ["web", "front"], "Labels": {"role": "a b", "x.y": "1"}, "Empty": [],
    })
}

#[track_caller]
fn is(template: &str, expected: &str) {
    assert_eq!(fill(template, &data()).unwrap(), expected, "{template}");
}

#[track_caller]
fn fails(template: &str, place: usize, words: &str) {
    let error = fill(template, &data()).unwrap_err();
    assert_eq!(error.place, place, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn fields_and_values() {
    is("{{.ID}} {{ .State.Status }}", "4f running");
    is("{{.State.Pid}}{{.State.Health}}", "7<no value>");
    is("{{.Names}} {{.Labels}} {{.Empty}}", "[web front] map[role:a b x.y:1] []");
    is("{{json .Names}} {{.Names | json}}", r#"["web","front"] ["web","front"]"#);
    is("{{.Labels.role}} {{.Labels.none}} {{.Label \"x.y\"}}", "a b <no value> 1");
    is("{{index .Names 1}} {{index .Labels \"x.y\"}}|{{index .Labels \"none\"}}", "front 1|");
    is("{{(index .Names 0) | upper}} {{len .Names}} {{len .Labels}}", "WEB 2 2");
    is("{{.State.Health.Status}}", "<no value>");
    is("{{$.ID}} {{$s := .State}}{{$s.Pid}}", "4f 7");
}

#[test]
fn functions() {
    is("{{join .Names \", \"}} {{\"ab cd\" | title}} {{lower \"AB\"}}", "web, front Ab Cd ab");
    is("{{printf \"%-5s|%3d|%q|%v\" .ID 7 \"a\" true}}", "4f   |  7|\"a\"|true");
    is("{{printf \"%05.1f%% %x\" 2.25 255}}", "002.2% ff");
    is("{{println .ID 1}}{{print 1 2 \"a\" 3}}", "4f 1\n1 2a3");
    is("{{truncate \"abcdef\" 3}}{{pad \"x\" 1 2}}|{{split \"a,b\" \",\"}}", "abc x  |[a b]");
    is(
        "{{and 1 0}} {{or 0 \"x\"}} {{not .Empty}} {{ne 1 2}} {{eq 3 1 3}} {{lt 1 2}}",
        "0 x true true true true",
    );
    // What is not needed is not looked at.
    is("{{or .ID .Nothing}}", "4f");
}

#[test]
fn blocks() {
    is("{{if eq .State.Status \"running\"}}up{{else}}down{{end}}", "up");
    is("{{if .Empty}}a{{else if .ID}}b{{else}}c{{end}}", "b");
    is("{{range .Names}}<{{.}}>{{end}}{{range .Empty}}{{else}}none{{end}}", "<web><front>none");
    is("{{range $i, $e := .Names}}{{$i}}={{$e}} {{end}}", "0=web 1=front ");
    is("{{range $k, $v := .Labels}}{{$k}}:{{$v}};{{end}}", "role:a b;x.y:1;");
    is("{{with .State}}{{.Pid}}{{$.ID}}{{end}}{{with .Empty}}{{else}}-{{end}}", "74f-");
    is("{{$x := 1}}{{range .Names}}{{$x = 2}}{{end}}{{$x}}", "2");
    is("{{range .Names}}{{.}}{{break}}{{end}}{{range .Names}}{{continue}}x{{end}}", "web");
    is("a  {{- /* a note: }} */ -}}  b {{\"}}\"}} {{`\\n`}} {{'a'}}", "ab }} \\n 97");
}

#[test]
fn errors_name_their_place() {
    fails("ab {{.Nothing}}", 6, "there is no field \"Nothing\"; there are");
    fails("{{.ID.x}}", 3, "has no fields");
    fails("{{.ID", 1, "without \"}}\"");
    fails("{{if .ID}}x", 3, "\"if\" has no \"{{end}}\"");
    fails("x{{end}}", 4, "\"end\" stands outside");
    fails("{{nope .ID}}", 3, "no function \"nope\"");
    fails("{{$x}}", 3, "no variable \"$x\"");
    fails("{{\"a}}", 1, "without");
    fails("{{.ID | }}", 3, "missing");
    fails("{{}}", 3, "missing");
    fails("{{index .Names 5}}", 3, "index takes");
    fails("{{printf \"%d\" .ID}}", 3, "printf takes");
    fails("{{range .ID}}{{end}}", 9, "range goes through");
    fails("{{template \"x\"}}", 3, "\"template\" was not expected");
    fails("é{{ .A ! }}", 8, "\"!\" was not expected");
}

#[test]
fn depth_has_an_end() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(5000), close.repeat(5000));
    assert!(fill(&format!("{{{{{}}}}}", deep("(", ")")), &data()).is_err());
    assert!(fill(&deep("{{if 1}}", "{{end}}"), &data()).is_err());
    assert!(
        fill(&format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(5000)), &data()).is_err()
    );
}

const LAYOUT: Layout<'static> = Layout {
    template: "{{.ID}}\t{{.ExitCode}}",
    headings: &[("ID", "CONTAINER ID")],
    heading: true,
};

fn render(format: &str) -> String {
    let rows = [json!({"ID": "4f", "ExitCode": 0}), json!({"ID": "5\x1b\ta", "ExitCode": 137})];
    Format::parse(format).unwrap().render(LAYOUT, &rows, Terminal::plain()).unwrap()
}

#[test]
fn tables_and_lines() {
    let table = "CONTAINER ID  EXIT CODE\n4f            0\n5  a          137\n";
    assert_eq!(render("table"), table);
    assert_eq!(render(""), table);
    assert_eq!(render("table {{.ID}}\\t{{.ExitCode}}"), table);
    assert_eq!(render("table {{.ExitCode}}"), "EXIT CODE\n0\n137\n");
    assert_eq!(render("{{.ExitCode}}\\t{{.ID}}"), "0\t4f\n137\t5\x1b\ta\n");
    assert!(render("json").starts_with("[\n  {\n    \"ExitCode\": 0,"));
    let to_terminal = Terminal { width: Some(80), colour: false };
    let rows = [json!({"ID": "\x1b[2J"})];
    let shown = Format::parse("{{.ID}}").unwrap().render(LAYOUT, &rows, to_terminal).unwrap();
    assert_eq!(shown, " [2J\n");
    let nothing = Format::parse("table").unwrap().render(LAYOUT, &[], Terminal::plain()).unwrap();
    assert_eq!(nothing, "CONTAINER ID  EXIT CODE\n");
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[A-Ca-c]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        ".",
        ".A",
        ".b",
        "$",
        "$x",
        ":=",
        "=",
        ",",
        "|",
        "(",
        ")",
        "if",
        "else",
        "end",
        "range",
        "with",
        "break",
        "index",
        "printf",
        "join",
        "len",
        "json",
        "eq",
        "lt",
        "and",
        "or",
        "pad",
        "truncate",
        "split",
        "\"%5.2f%s\"",
        "\"",
        "`",
        "'a'",
        "1",
        "-7",
        "9999999999999999999999",
        "1e999",
        "/*",
        "*/",
        "é",
        "\\t",
        "nil",
        "true",
        "table",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn never_panics(template in prop_oneof![words(), "\\PC{0,40}"], data in values()) {
        if let Ok(format) = Format::parse(&template) {
            let layout = Layout { template: "{{.A}}", ..LAYOUT };
            let _ = format.render(layout, &[data.clone(), data], Terminal::plain());
        }
    }

    #[test]
    fn places_are_in_the_template(template in words(), data in values()) {
        if let Err(error) = fill(&template, &data) {
            prop_assert!(error.place >= 1);
            prop_assert!(error.place <= template.chars().count() + 1, "{} in {:?}", error, template);
        }
    }
}
