//! One broken object hurts only itself.

use crate::edge::{edge, ingress};

#[test]
fn broken_objects_hurt_only_themselves() {
    let Some(edge) = edge() else { return };
    edge.serve("isolation", "good.test", 1);
    // No Service, a path that cannot be, no Secret.
    let missing = ingress("isolation", "missing", "portcullis", "missing.test", None);
    edge.cluster
        .apply(&missing.replace("name: web, port", "name: gone, port"));
    let path = ingress("isolation", "path", "portcullis", "path.test", None);
    edge.cluster.apply(
        &path
            .replace("path: /,", "path: '/a b/(',")
            .replace("pathType: Prefix", "pathType: ImplementationSpecific"),
    );
    edge.cluster.apply(&ingress(
        "isolation",
        "secret",
        "portcullis",
        "secret.test",
        Some("gone"),
    ));
    edge.wait_for("missing.test", 503);
    // Its certificate is the default one; in clear it leads there.
    edge.wait_for("secret.test", 308);
    edge.wait_for("good.test", 200);
    for (name, told) in [
        ("missing", "there is no Service isolation/gone"),
        ("secret", "there is no Secret isolation/gone"),
        ("path", "(,"),
    ] {
        edge.cluster.wait(&format!("an event about {name}"), || {
            let events = edge.events("isolation");
            events.contains(told) || name == "path" && events.contains("\"name\": \"path\"")
        });
    }
    // What is mended is served.
    edge.cluster.apply(&missing);
    edge.wait_for("missing.test", 200);
}

#[test]
fn ing_13_the_oldest_has_a_host_and_the_next_one_takes_over() {
    let Some(edge) = edge() else { return };
    edge.serve("older", "shared.test", 1);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    edge.cluster.apply(&crate::edge::web("newer", 1));
    edge.cluster
        .apply(&ingress("newer", "web", "portcullis", "shared.test", None));
    edge.cluster.rolled_out("newer", "web");
    edge.cluster.wait("the loser is told", || {
        let events = edge.events("newer");
        events.contains("shared.test/ is that of Ingress older/web, which is older")
    });
    let backend = |edge: &crate::edge::Edge| edge.namespace_of("shared.test");
    assert_eq!(backend(&edge), "older");
    edge.cluster
        .kubectl(&["delete", "ingress", "web", "-n", "older"]);
    edge.cluster
        .wait("the next one has it", || backend(&edge) == "newer");
    // And keeps it: now it is the older one.
    edge.cluster
        .apply(&ingress("older", "web", "portcullis", "shared.test", None));
    edge.cluster.wait("the former owner is told", || {
        let events = edge.events("older");
        events.contains("shared.test/ is that of Ingress newer/web, which is older")
    });
    assert_eq!(backend(&edge), "newer");
}
