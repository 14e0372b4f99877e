//! Names, places and methods: what has no route, what is not there, what is in the way.

use super::{Row, Stage, asks, row};
use crate::client::Request;
use crate::links::{link, rename};
use crate::medusa;

const LOCATION: &str = "An HTTP Location header must be specified";
const LINKS_DISABLED: &str = "snaplinks have been disabled for this account";
const SOURCE_LINKS_DISABLED: &str = "owner of source object has snaplinks disabled";
const DIRECTORY: &str = "application/json; type=directory";

pub(super) const ROWS: &[Row<Stage>] = &[
    row(404, "ResourceNotFound", "{path} does not exist", |_| {
        // Nobody is asked who they are before there is a route.
        ["/9bad/stor", "/alice/nowhere", "/alice/buckets/x", "/_"]
            .map(|path| {
                let request = Request::new("PUT", path).header("authorization", "nonsense");
                asks(request.body("x"), format!("{path} does not exist"))
            })
            .into()
    }),
    row(405, "MethodNotAllowed", "{method} is not allowed", |_| {
        let jobs = "DELETE, GET, HEAD, OPTIONS, POST, PUT";
        let storage = "DELETE, GET, HEAD, OPTIONS, PUT";
        [
            ("POST", "/alice/stor/o", storage),
            ("OPTIONS", "/", "GET"),
            ("OPTIONS", "/alice", "DELETE, GET, HEAD, POST, PUT"),
            ("PATCH", "/alice/jobs", jobs),
            ("BREW", "/alice/public/o", storage),
            ("POST", "/", "GET"),
            ("PUT", "/alice/jobs/x/live/in", "GET, POST"),
            ("GET", "/alice/jobs/x/live/cancel", "POST"),
        ]
        .map(|(method, path, allow)| {
            let request = Request::new(method, path).header("authorization", "nonsense");
            asks(request, format!("{method} is not allowed")).told("allow", allow)
        })
        .into()
    }),
    row(
        400,
        "InvalidVersion",
        "{version} is not supported by {method} {path}",
        |stage| {
            let request = Request::new("DELETE", "/alice/stor/o").header("accept-version", "~2.0");
            let message = "~2.0 is not supported by DELETE /alice/stor/o";
            vec![asks(stage.by_alice(request), message)]
        },
    ),
    row(415, "UnsupportedMediaType", "(the reason)", |stage| {
        let typed = |path: &str| {
            let request = Request::new("POST", path).header("content-type", "text/plain; x=y");
            asks(stage.by_alice(request.body("{}")), "text/plain")
        };
        vec![typed("/alice/jobs"), typed("/alice/uploads")]
    }),
    row(400, "InvalidResource", "\"{path}\" is invalid", |stage| {
        let long = format!("/alice/stor/{}", "x".repeat(1025));
        let deep = format!("/alice/stor{}", "/abcdefgh".repeat(500));
        let mut all = Vec::new();
        for path in [
            "/alice/stor/%",
            "/alice/stor/%2",
            "/alice/stor/%zz",
            "/alice/stor/%ff%fe",
            "/alice/stor/a%00b",
            "/alice/stor/a%2F%2Fb",
            "/alice/stor/%2F",
            &long,
            &deep,
        ] {
            let message = format!("\"{path}\" is invalid");
            let put = Request::new("PUT", path).body("x");
            let others = ["GET", "DELETE"].map(|method| Request::new(method, path));
            for request in others.into_iter().chain([put]) {
                all.push(asks(stage.by_alice(request), &*message));
            }
        }
        all
    }),
    row(404, "ResourceNotFound", "{path} was not found", |stage| {
        let path = "/alice/stor/none";
        let removal = stage.by_alice(Request::new("DELETE", path));
        vec![
            asks(removal, "/alice/stor/none was not found"),
            asks(
                stage.update(path, "m-x", "y"),
                "/alice/stor/none was not found",
            ),
        ]
    }),
    row(
        404,
        "DirectoryDoesNotExist",
        "{parent} does not exist",
        |stage| {
            let message = "/alice/stor/none does not exist";
            let put = |content_type: &str| {
                let request = Request::new("PUT", "/alice/stor/none/o");
                let request = request.header("content-type", content_type).body("x");
                asks(stage.by_alice(request), message)
            };
            vec![put("text/plain"), put(DIRECTORY)]
        },
    ),
    row(
        400,
        "ParentNotDirectory",
        "{parent} is not a directory",
        |stage| {
            let message = "/alice/stor/o is not a directory";
            let put = |content_type: &str| {
                let request = Request::new("PUT", "/alice/stor/o/below");
                let request = request.header("content-type", content_type).body("x");
                asks(stage.by_alice(request), message)
            };
            vec![put("text/plain"), put(DIRECTORY)]
        },
    ),
    row(400, "DirectoryNotEmpty", "{path} is not empty", |stage| {
        let removal = Request::new("DELETE", "/alice/stor/d");
        vec![asks(stage.by_alice(removal), "/alice/stor/d is not empty")]
    }),
    row(
        400,
        "OperationNotAllowedOnDirectory",
        "{path} is a directory: {method} is not allowed",
        |stage| {
            let mut all = Vec::new();
            for directory in ["/alice/stor/d", "/alice/stor", "/alice/jobs"] {
                let message = format!("{directory} is a directory: PUT is not allowed");
                let put = Request::new("PUT", directory).chunked(&[b"x"]);
                let links = [link, rename].map(|make| make("/alice/stor/o", directory));
                for request in links.into_iter().chain([put]) {
                    all.push(asks(stage.by_alice(request), &*message));
                }
            }
            all
        },
    ),
    row(
        400,
        "OperationNotAllowedOnRootDirectory",
        "{method} is not allowed on {path}",
        |stage| {
            let removal = stage.by_alice(Request::new("DELETE", "/alice/stor"));
            let put = stage.by_alice(Request::new("PUT", "/alice").body("x"));
            let mut all = vec![
                asks(removal, "DELETE is not allowed on /alice/stor"),
                asks(put, "PUT is not allowed on /alice"),
            ];
            for make in [link, rename] {
                let request = stage.by_alice(make("/alice/stor/o", "/alice"));
                all.push(asks(request, "PUT is not allowed on /alice"));
            }
            all
        },
    ),
    row(
        400,
        "InvalidArgumentError",
        "limit={value} is invalid: must be between [1, 1024]",
        |stage| {
            ["0", "1025", "abc", "-1", "", "1e2"]
                .map(|limit| {
                    let message = format!("limit={limit} is invalid: must be between [1, 1024]");
                    asks(stage.get(&format!("/alice/stor?limit={limit}")), message)
                })
                .into()
        },
    ),
    row(
        400,
        "InvalidParameter",
        "\"{value}\" is invalid for \"{name}\"",
        |stage| {
            let observer = medusa::path(&stage.open_job, "observer");
            [
                ("/alice/stor?sort=mtime&marker=now", "now", "marker"),
                ("/alice/jobs?status=done", "done", "status"),
            ]
            .map(|(path, value, name)| {
                let message = format!("\"{value}\" is invalid for \"{name}\"");
                asks(stage.get(path), message)
            })
            .into_iter()
            .chain([asks(
                stage.by_alice(medusa::upgrade(&observer)),
                "\"type\" is invalid for \"observer\"",
            )])
            .collect()
        },
    ),
    row(400, "LocationRequired", LOCATION, |stage| {
        [link, rename]
            .map(|make| asks(stage.by_alice(make("", "/alice/stor/n")), LOCATION))
            .into()
    }),
    row(
        400,
        "InvalidLink",
        "{location} is an invalid link",
        |stage| {
            let mut all = Vec::new();
            for location in ["/alice/stor/%zz", "/alice/nowhere/a"] {
                for make in [link, rename] {
                    let request = stage.by_alice(make(location, "/alice/stor/n"));
                    all.push(asks(request, format!("{location} is an invalid link")));
                }
            }
            all
        },
    ),
    row(
        404,
        "SourceObjectNotFound",
        "{location} was not found",
        |stage| {
            let mut all = Vec::new();
            for location in ["/nobody/stor/a", "/alice/stor/none", "/alice/stor/none/a"] {
                for make in [link, rename] {
                    let request = stage.by_alice(make(location, "/alice/stor/n"));
                    all.push(asks(request, format!("{location} was not found")));
                }
            }
            all
        },
    ),
    row(
        400,
        "LinkNotObject",
        "{location} is not an object",
        |stage| {
            let mut all = Vec::new();
            for location in ["/alice/stor/d", "/alice/stor"] {
                for make in [link, rename] {
                    let request = stage.by_alice(make(location, "/alice/stor/n"));
                    all.push(asks(request, format!("{location} is not an object")));
                }
            }
            all
        },
    ),
    row(403, "SnaplinksDisabledError", LINKS_DISABLED, |stage| {
        let request = link("/alice/stor/o", "/dave/stor/n");
        let request = request.signed_by(&stage.store.poseidon);
        vec![asks(request, LINKS_DISABLED)]
    }),
    row(
        403,
        "SnaplinksDisabledError",
        SOURCE_LINKS_DISABLED,
        |stage| {
            let request = stage.by_alice(link("/dave/public/o", "/alice/stor/n"));
            vec![asks(request, SOURCE_LINKS_DISABLED)]
        },
    ),
];
