// Describes the routes of a process for machines: the OpenAPI document that it serves itself.

import HTTPServer
import Telemetry

/// What `GET /openapi.json` answers.
///
/// OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0). Every status a route gives is listed. What the HTTP server itself answers has no place in
/// it: 404, 405, 400 for what is not sound HTTP, and 500 where an answer cannot be written.
enum OpenAPIDocument {
    /// The document for these routes.
    static func make(_ routes: [Routes.Route]) -> JSONValue {
        [
            "openapi": "3.1.0",
            "info": [
                "title": "Sluice", "version": .string(sluiceVersion),
                "summary": "Takes events for a Kafka topic, and shows the worker that applies them to PostgreSQL.",
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "paths": .object(routes.map { .init($0.rawValue, [$0.pattern.method.rawValue.lowercased(): $0.operation]) }),
            "components": [
                "schemas": schemas, "headers": headers, "securitySchemes": ["token": ["type": "http", "scheme": "bearer"]],
            ],
        ]
    }

    private static let schemas: JSONValue = [
        "Event": [
            "type": "object",
            "description":
                "One event, as the mapping of the process says; the shipped one is shown. Anything else is refused with 400.",
            "examples": [
                ["action": "Create", "message_id": 1, "data": ["name": "Ada", "message": "Hello"]],
                ["action": "Delete", "message_id": 1],
            ],
        ],
        "Problem": [
            "type": "object", "description": "Problem details (RFC 9457).", "required": ["type", "title", "status", "detail"],
            "properties": [
                "type": ["type": "string", "format": "uri-reference"], "title": ["type": "string"], "status": ["type": "integer"],
                "detail": ["type": "string", "description": "What is wrong here, and what to do about it."],
                "reason": ["type": "string", "description": "Why an event was not understood."],
                "cause": ["type": "string", "description": "What makes the process shed."],
                "retry_after": ["type": "integer", "description": "The Retry-After, for those who read bodies."],
                "violated-policies": ["type": "array", "items": ["type": "string"]],
                "possibly_persisted": [
                    "type": "boolean",
                    "description": "Sending the event again may write it twice, because it may have been written.",
                ],
                "results": results,
            ],
        ],
        "Results": ["type": "object", "required": ["results"], "properties": ["results": results]],
        "Result": [
            "type": "object", "required": ["status"],
            "description": "What the event alone would have been answered: 200 and no more, or why not.",
            "properties": [
                "status": ["type": "integer"], "detail": ["type": "string"], "reason": ["type": "string"],
                "code": ["type": "string"], "retry_after": ["type": "integer"], "possibly_persisted": ["type": "boolean"],
            ],
        ],
        "Readiness": [
            "type": "object", "required": ["status"],
            "properties": ["status": ["enum": ["ready", "unavailable"]], "reason": ["type": "string"]],
        ],
        "PauseRequest": [
            "type": "object", "description": "Without a partition the whole topic is meant, without a topic everything.",
            "properties": [
                "topic": ["type": "string"], "partition": ["type": "integer", "minimum": 0],
                "reason": ["type": "string", "maxLength": .integer(AdminRequest.reasonLimit)],
            ],
        ],
        "Pauses": [
            "type": "object", "required": ["paused"],
            "properties": [
                "paused": [
                    "type": "array",
                    "items": [
                        "type": "object", "required": ["reason"],
                        "properties": [
                            "topic": ["type": ["string", "null"]], "partition": ["type": ["integer", "null"]],
                            "reason": ["type": "string"],
                        ],
                    ],
                ]
            ],
        ],
    ]

    private static let results: JSONValue = [
        "type": "array", "items": ["$ref": "#/components/schemas/Result"],
        "description": "One for each event of a batch, in order; where the body was not read to its end, one more for the rest.",
    ]

    private static let headers: JSONValue = [
        "Retry-After": [
            "description": "Seconds after which the same has a chance.", "schema": ["type": "integer", "minimum": 1],
        ],
        "RateLimit": [
            "description": "What is left (draft-ietf-httpapi-ratelimit-headers-11); not with limits.headers off.",
            "schema": ["type": "string"],
        ],
        "RateLimit-Policy": [
            "description": "The policies in force, written as the same draft says.", "schema": ["type": "string"],
        ],
    ]
}

extension Routes.Route {
    /// What is said of a route, without its path and method.
    fileprivate var operation: JSONValue {
        var members: [JSONValue.Member] = [
            .init("operationId", .string(name)), .init("summary", .string(summary)),
            .init(
                "responses",
                .object(answers.sorted { $0.status < $1.status }.map { .init("\($0.status)", $0.value) })),
        ]
        if let requestBody { members.append(.init("requestBody", requestBody)) }
        // Which of the two holds depends on the settings and the caller's address.
        if verb != nil || self == .send || self == .metrics { members.append(.init("security", [[:], ["token": []]])) }
        return .object(members)
    }

    private var name: String {
        switch self {
        case .index: "index"
        case .send: "send"
        case .metrics: "metrics"
        case .livez: "alive"
        case .readyz: "ready"
        case .openAPI: "describe"
        case .pause: "pause"
        case .resume: "resume"
        case .pauses: "pauses"
        }
    }

    private var summary: String {
        switch self {
        case .index: "Names the routes."
        case .send: "Takes an event, or a batch of them; answered when Kafka has it."
        case .metrics: "Metrics, as Prometheus text."
        case .livez: "Answers while the process runs."
        case .readyz: "Answers whether the process can do its work, and if not, why."
        case .openAPI: "This document."
        case .pause: "Stops reading a partition, a topic or everything, for all workers of the group."
        case .resume: "Goes on reading what was paused."
        case .pauses: "Lists what operators have paused."
        }
    }

    private var requestBody: JSONValue? {
        switch self {
        case .send:
            [
                "required": true,
                "content": [
                    "application/json": [
                        "schema": ["oneOf": [Self.reference("Event"), ["type": "array", "items": Self.reference("Event")]]]
                    ],
                    "application/x-ndjson": ["schema": ["type": "string", "description": "One event a line."]],
                ],
            ]
        case .pause, .resume:
            ["required": true, "content": ["application/json": ["schema": Self.reference("PauseRequest")]]]
        case .index, .metrics, .livez, .readyz, .openAPI, .pauses: nil
        }
    }

    /// What it answers, by status.
    var statuses: [Int] { answers.map(\.status) }

    private var answers: [(status: Int, value: JSONValue)] {
        var answers: [(Int, JSONValue)] = [
            (413, Self.problem("The body is longer than this route takes.")),
            (503, Self.problem("Not now; nothing is lost by trying again.", headers: ["Retry-After"])),
        ]
        switch self {
        case .index: answers.append((200, Self.answer("The routes.", "text/plain; charset=utf-8", ["type": "string"])))
        case .send:
            answers.removeAll { $0.0 == 413 }
            answers += [
                (
                    413,
                    Self.problem(
                        "Longer than an event or a body may be, or more than a limit ever lets pass.",
                        headers: ["RateLimit-Policy"])
                ),
                (200, Self.sent),
                (207, Self.answer("Some events of a batch were taken.", "application/json", Self.reference("Results"))),
                (400, Self.problem("The event is not what the mapping says; of a batch none is.")),
                (408, Self.problem("The body comes too slowly.")),
                (401, Self.problem("No token, or a wrong one.")),
                (403, Self.problem("Not from there, as there are no tokens.")),
                (415, Self.problem("The body is of another kind.")),
                (
                    429,
                    Self.problem("Over a limit; nothing was written.", headers: ["Retry-After", "RateLimit", "RateLimit-Policy"])
                ),
                (500, Self.problem("Kafka refuses the event, and will do so again.")),
            ]
        case .metrics:
            answers += [
                (200, Self.answer("The metrics.", MetricsRegistry.contentType, ["type": "string"])),
                (401, Self.problem("No token, or a wrong one.")),
                (403, Self.problem("Only from the same machine, as there is no token.")),
            ]
        case .livez:
            answers.append(
                (200, Self.answer("It runs.", "application/json", ["type": "object", "required": ["status"]])))
        case .readyz:
            answers.removeAll { $0.0 == 503 }
            answers += [
                (200, Self.answer("It can.", "application/json", Self.reference("Readiness"))),
                (503, Self.unready),
            ]
        case .openAPI: answers.append((200, Self.answer("The document.", "application/json", ["type": "object"])))
        case .pause, .resume, .pauses:
            answers += [
                (200, Self.answer("What is paused now.", "application/json", Self.reference("Pauses"))),
                (401, Self.problem("No token, or a wrong one.")),
                (403, Self.problem("Only from the same machine, as there is no token.")),
                (500, Self.problem("PostgreSQL refuses it, and will do so again.")),
            ]
            if self != .pauses {
                answers += [
                    (400, Self.problem("The body cannot be obeyed.")),
                    (404, Self.problem("There is no such topic or partition.")),
                    (415, Self.problem("The body is of another kind.")),
                ]
            }
            if self == .resume { answers.append((409, Self.problem("It is paused together with more."))) }
        }
        return answers
    }

    private static func answer(_ description: String, _ type: String, _ schema: JSONValue) -> JSONValue {
        ["description": .string(description), "content": .object([.init(type, ["schema": schema])])]
    }

    private static var sent: JSONValue {
        [
            "description": "All in-sync replicas have it: one event, or every one of a batch.",
            "content": [
                "text/plain; charset=utf-8": ["schema": ["type": "string"]],
                "application/json": ["schema": reference("Results")],
            ],
        ]
    }

    /// A process that ends answers as every route does then.
    private static var unready: JSONValue {
        [
            "description": "It cannot, for this reason.",
            "headers": ["Retry-After": ["$ref": "#/components/headers/Retry-After"]],
            "content": [
                "application/json": ["schema": reference("Readiness")],
                "application/problem+json": ["schema": reference("Problem")],
            ],
        ]
    }

    private static func problem(_ description: String, headers: [String] = []) -> JSONValue {
        var members: [JSONValue.Member] = [.init("description", .string(description))]
        if !headers.isEmpty {
            members.append(
                .init("headers", .object(headers.map { .init($0, ["$ref": .string("#/components/headers/\($0)")]) })))
        }
        members.append(.init("content", ["application/problem+json": ["schema": reference("Problem")]]))
        return .object(members)
    }

    private static func reference(_ schema: String) -> JSONValue { ["$ref": .string("#/components/schemas/\(schema)")] }
}
