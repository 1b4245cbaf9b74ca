//! Filter chains: what a route makes of its listener's.

use super::{FULL, accept, refuse};
use crate::config::Uses;

/// A file with filters a to d, the listener's chain and one route's.
fn file(listener: &str, routes: &[&str]) -> String {
    let routes: String = routes
        .iter()
        .map(|filters| format!("  - {{ respond: {{}}, filters: {filters} }}\n"))
        .collect();
    format!(
        "listeners:\n\
         - name: l\n  address: 127.0.0.1:80\n  filters: {listener}\n  routes:\n{routes}\
         filters:\n\
         - {{ name: a, module: {{ file: filters/a.wasm }}, configuration: own }}\n\
         - {{ name: b, module: {{ file: filters/a.wasm }}, vm_id: v }}\n\
         - {{ name: c, module: {{ file: filters/b.wasm }} }}\n"
    )
}

/// The chains of the routes, each plugin as `name=configuration`.
fn chains(listener: &str, routes: &[&str]) -> Vec<String> {
    let config = accept(&file(listener, routes));
    let plugin = |index: &usize| {
        let plugin = &config.plugins[*index];
        format!(
            "{}={}",
            plugin.name,
            String::from_utf8_lossy(&plugin.configuration)
        )
    };
    let chain = |filters: &[usize]| filters.iter().map(plugin).collect::<Vec<_>>().join(" ");
    config.listeners[0]
        .routes
        .iter()
        .map(|route| chain(&route.filters))
        .collect()
}

#[test]
fn a_route_changes_its_listeners_chain() {
    let routes = [
        "[]",
        "[{ name: a, configuration: { x: 1 } }]",
        "[{ name: a, disabled: true }]",
        "[c]",
        "[{ name: c, configuration: text }, { name: b, configuration: [1] }]",
        "[a]",
        "[{ name: a, disabled: false }]",
        "[{ name: a, configuration: }]",
    ];
    let expected = [
        "a=own b=",
        r#"a={"x":1} b="#,
        "b=",
        "a=own b= c=",
        "a=own b=[1] c=text",
        "a=own b=",
        "a=own b=",
        "a= b=",
    ];
    assert_eq!(chains("[a, b]", &routes), expected);
}

#[test]
fn a_bare_name_keeps_what_the_listener_configured() {
    let listener = "[{ name: a, configuration: other }, { name: b, disabled: true }]";
    assert_eq!(chains(listener, &["[a]", "[b]"]), ["a=other", "a=other b="]);
}

#[test]
fn the_same_configuration_is_one_plugin() {
    let config = accept(&file(
        "[{ name: a, configuration: { x: 1 } }]",
        &[
            "[]",
            "[{ name: a, configuration: '{\"x\":1}' }]",
            "[{ name: a, configuration: own }]",
        ],
    ));
    let routes = &config.listeners[0].routes;
    assert_eq!(routes[0].filters, routes[1].filters);
    assert_ne!(routes[0].filters, routes[2].filters);
    // Two configurations of `a`, then `b` and `c`, which nothing uses but which are loaded.
    let names: Vec<_> = config
        .plugins
        .iter()
        .map(|plugin| plugin.name.as_str())
        .collect();
    assert_eq!(names, ["a", "a", "b", "c"]);
}

#[test]
fn a_configuration_of_its_own_is_where_it_is_written() {
    let config = accept(FULL);
    let place = |index: usize| {
        let plugin = &config.plugins[index];
        (
            plugin.name.as_str(),
            plugin.position.as_str(),
            plugin.yaml_path.as_str(),
        )
    };
    let chain = &config.listeners[0].routes[0].filters;
    let path = "listeners[0].routes[0].filters[0].configuration";
    assert_eq!(place(chain[0]), ("greet", "test.yaml:46:43", path));
    let other = &config.listeners[0].routes[1].filters;
    assert_eq!(
        place(other[0]),
        ("add-header", "test.yaml:92:5", "filters[0]")
    );
    let path = "listeners[0].filters[1].configuration";
    assert_eq!(place(other[1]), ("greet", "test.yaml:27:39", path));
    // The filter itself, used only with other configurations, is not started without one.
    let greets = config
        .plugins
        .iter()
        .filter(|plugin| plugin.name == "greet");
    assert_eq!(greets.count(), 2);
    assert_eq!(
        config.plugins.last().map(|plugin| plugin.name.as_str()),
        Some("unused")
    );
}

#[test]
fn mistakes_in_chains_are_told_where_they_are() {
    let cases = [
        (
            "[d]",
            "4:13: listeners[0].filters[0]: there is no filter \"d\"; \
                 define it under `filters:`, or use a name that is there",
        ),
        (
            "[a, a]",
            "4:16: listeners[0].filters[1]: \"a\" is listed twice; \
                    remove one; a filter stands in a chain once",
        ),
        (
            "[{ configuration: 1 }]",
            "4:13: listeners[0].filters[0]: `name` is missing; \
                                    add `name: …` (which filter)",
        ),
        (
            "[{ name: a, config: 1 }]",
            "4:24: listeners[0].filters[0].config: unknown key \
                                      \"config\"; the keys here are name, configuration, disabled",
        ),
        (
            "[[a]]",
            "4:13: listeners[0].filters[0]: expected text, found a list; \
                   write one word or a text in quotes",
        ),
        (
            "a",
            "4:12: listeners[0].filters: expected a list, found text; \
               write one entry per line, each after `- `",
        ),
    ];
    for (chain, expected) in cases {
        assert_eq!(
            refuse(&file(chain, &["[]"])),
            format!("test.yaml:{expected}"),
            "{chain}"
        );
    }
    let expected = "test.yaml:6:30: listeners[0].routes[0].filters[0]: this filter is not in the \
                    listener's chain, so it cannot be disabled here; remove the entry";
    assert_eq!(
        refuse(&file("[b]", &["[{ name: a, disabled: true }]"])),
        expected
    );
}

#[test]
fn plugins_know_what_they_are_for() {
    let config = accept(FULL);
    let uses = |name: &str, configuration: &str| {
        let mut plugins = config.plugins.iter();
        let plugin = plugins
            .find(|plugin| plugin.name == name && plugin.configuration == configuration)
            .unwrap_or_else(|| panic!("no {name}"));
        let Uses {
            streams,
            access_log,
            service,
        } = plugin.uses;
        [streams, access_log, service]
    };
    assert_eq!(uses("add-header", "a text as it is"), [true, false, false]);
    assert_eq!(uses("logger", ""), [false, true, false]);
    // One plugin for the route and for the log: their configuration is the same.
    assert_eq!(uses("greet", r#"{"greeting":"hi"}"#), [true, true, false]);
    assert_eq!(uses("worker", ""), [false, false, true]);
    assert_eq!(uses("audit", r#"{"for":"itself"}"#), [false, false, true]);
    assert_eq!(uses("unused", ""), [false; 3]);
    let loggers: Vec<_> = config.listeners[0]
        .access_log_filters
        .iter()
        .map(|place| &config.plugins[*place].name[..])
        .collect();
    assert_eq!(loggers, ["logger", "greet"]);
    assert!(config.listeners[1].access_log_filters.is_empty());
}
