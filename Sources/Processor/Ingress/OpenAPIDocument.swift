// Owns the OpenAPI document of a process.

import HTTPServer
import Platform
import Records
import Telemetry

/// The response of `GET /openapi.json`: OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0).
///
/// Every status of a route is listed. Responses of the HTTP server itself are not: 404, 405, 400 for malformed HTTP, and 500 if a response
/// cannot be written.
enum OpenAPIDocument {
    /// The document for these routes.
    /// - Parameter header: the name of the header that routes the events of `POST /send`; `nil`: none does.
    static func make(_ routes: [Routes.Route], header: String?) -> JSONValue {
        [
            "openapi": "3.1.0",
            "info": [
                "title": "Sluice", "version": .string(sluiceVersion),
                "summary": "Takes events for a Kafka topic, and operates the worker that applies them to PostgreSQL.",
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "paths": .object(routes.map { .init($0.rawValue, [$0.pattern.method.rawValue.lowercased(): $0.operation(header)]) }),
            "components": .written(components),
        ]
    }

    private static let reasons = StopReason.Kind.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")

    private static let components = #"""
        {"schemas": {
        "Event": {"type": "object",
          "description": "One event in the form of the configured mapping; the examples are of the default mapping. Others are \#
        refused with 400.",
          "examples": [{"action": "Create", "message_id": 1, "data": {"name": "Ada", "message": "Hello"}},
            {"action": "Delete", "message_id": 1}]},
        "Problem": {"type": "object", "description": "Problem details (RFC 9457).",
          "required": ["type", "title", "status", "detail"],
          "properties": {"type": {"type": "string", "format": "uri-reference"}, "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong with this request, and what to do about it."},
            "reason": {"type": "string", "description": "Why the event is invalid."},
            "cause": {"type": "string", "description": "The cause of load shedding."},
            "retry_after": {"type": "integer", "description": "The value of Retry-After."},
            "violated-policies": {"type": "array", "items": {"type": "string"}},
            "possibly_persisted": {"type": "boolean",
              "description": "The event may have been written; sending it again may write it twice."},
            "results": {"$ref": "#/components/schemas/ResultList"}}},
        "Results": {"type": "object", "required": ["results"],
          "properties": {"results": {"$ref": "#/components/schemas/ResultList"}}},
        "ResultList": {"type": "array", "items": {"$ref": "#/components/schemas/Result"},
          "description": "One for each event of the batch, in order; one more for the rest if the body was not read to its end."},
        "Result": {"type": "object", "required": ["status"],
          "description": "The answer to one event: 200, or why it was not written.",
          "properties": {"status": {"type": "integer"}, "detail": {"type": "string"}, "reason": {"type": "string"},
            "code": {"type": "string"}, "retry_after": {"type": "integer"}, "possibly_persisted": {"type": "boolean"}}},
        "StopReason": {"enum": [\#(reasons)]},
        "Readiness": {"type": "object", "required": ["status"],
          "properties": {"status": {"enum": ["ready", "unavailable"]}, "reason": {"type": "string"},
            "database": {"enum": ["available", "unavailable"], "description": "Whether PostgreSQL answers the worker."},
            "stopped": {"type": "array", "description": "The worker's stopped partitions.",
              "items": {"type": "object", "required": ["partition", "reason", "message", "starts_again"],
                "properties": {"partition": {"type": "string"}, "message": {"type": "string"},
                  "reason": {"$ref": "#/components/schemas/StopReason"},
                  "starts_again": {"enum": ["by itself", "by an operator"],
                    "description": "By itself, once what is wrong is mended; or at POST /admin/retry only."}}}}}},
        "PauseRequest": {"type": "object", "additionalProperties": false,
          "description": "Without a partition: the whole topic. Without a topic: all topics. A partition needs a topic.",
          "properties": {"topic": {"type": ["string", "null"], "minLength": 1},
            "partition": {"type": ["integer", "null"], "minimum": 0, "maximum": \#(Int32.max)},
            "reason": {"type": ["string", "null"], "maxLength": \#(AdminRequest.reasonLimit),
              "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
              "description": "One line. Pausing needs one that is not blank."}}},
        "Retried": {"type": "object", "required": ["retried"],
          "properties": {"retried": {"type": "array",
            "items": {"type": "object", "required": ["topic", "partition", "reason", "message"],
              "properties": {"topic": {"type": "string"}, "partition": {"type": "integer"},
                "reason": {"$ref": "#/components/schemas/StopReason"},
                "message": {"type": "string", "description": "Why the partition had stopped."}}}}}},
        "Pauses": {"type": "object", "required": ["paused"],
          "properties": {
            "unchanged": {"type": "string", "description": "Why a request to pause or resume has changed nothing."},
            "paused": {"type": "array",
              "items": {"type": "object", "required": ["reason"],
                "properties": {"topic": {"type": ["string", "null"]}, "partition": {"type": ["integer", "null"]},
                  "reason": {"type": "string"}}}}}}},
        "headers": {
        "Retry-After": {"description": "Seconds after which the request may succeed.",
          "schema": {"type": "integer", "minimum": 1}},
        "RateLimit": {"schema": {"type": "string"},
          "description": "The remaining quota (draft-ietf-httpapi-ratelimit-headers-11); only with limits.headers."},
        "RateLimit-Policy": {"schema": {"type": "string"},
          "description": "The policies in force, in the format of the same draft."}},
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
        """#
}

extension Routes.Route {
    /// The route's operation object.
    fileprivate func operation(_ header: String?) -> JSONValue {
        var members: [JSONValue.Member] = [
            .init("operationId", .string(summary.name)), .init("summary", .string(summary.sentence)),
            .init("responses", .object(answers.sorted { $0.key < $1.key }.map { .init("\($0.key)", $0.value) })),
        ]
        if self == .send, let header {
            let description = "Chooses the mapping of the request's events, and becomes a header of their records."
            members.append(
                .init(
                    "parameters",
                    [
                        [
                            "name": .string(header), "in": "header", "description": .string(description),
                            "schema": ["type": "string"],
                        ]
                    ]))
        }
        if let requestBody { members.append(.init("requestBody", requestBody)) }
        // Whether a token is required depends on the settings and the client's address.
        if verb != nil || [.send, .metrics, .readyz].contains(self) { members.append(.init("security", [[:], ["token": []]])) }
        return .object(members)
    }

    private var summary: (name: String, sentence: String) {
        switch self {
        case .index: ("index", "Lists the routes.")
        case .send: ("send", "Takes an event or a batch of events; answers when Kafka has acknowledged them.")
        case .metrics: ("metrics", "Metrics in Prometheus' text format.")
        case .livez: ("alive", "Liveness: 200 while the process runs.")
        case .readyz: ("ready", "Readiness; for those who may read the metrics or use /admin, why the process is not ready.")
        case .openAPI: ("describe", "This document.")
        case .pause: ("pause", "Pauses consumption of a partition, a topic or all topics, for all workers of the group.")
        case .resume: ("resume", "Resumes consumption.")
        case .retry: ("retry", "Claims stopped partitions of this worker again at once, whatever stopped them.")
        case .pauses: ("pauses", "Lists the operator pauses.")
        }
    }

    private var requestBody: JSONValue? {
        switch self {
        case .send:
            [
                "required": true,
                "content": [
                    "application/json": [
                        "schema": [
                            "oneOf": [
                                Self.reference("Event"), ["type": "array", "minItems": 1, "items": Self.reference("Event")],
                            ]
                        ]
                    ],
                    "application/x-ndjson": ["schema": ["type": "string", "description": "One event a line."]],
                ],
            ]
        case .pause, .resume, .retry:
            ["required": true, "content": ["application/json": ["schema": Self.reference("PauseRequest")]]]
        case .index, .metrics, .livez, .readyz, .openAPI, .pauses: nil
        }
    }

    /// The statuses of its responses.
    var statuses: [Int] { answers.keys.sorted() }

    private var answers: [Int: JSONValue] {
        var answers = [
            413: Self.problem("The body is longer than this route takes."),
            503: Self.problem("Not possible now; try again.", headers: ["Retry-After"]),
        ]
        if verb != nil || self == .metrics {
            answers[401] = Self.problem("The bearer token is missing or unknown.")
            answers[403] = Self.problem("Without a token, only local requests are allowed.")
            answers[404] = Self.problem("A change of the settings has closed this route.")
        }
        switch self {
        case .index: answers[200] = Self.answer("The routes.", ["text/plain; charset=utf-8": ["type": "string"]])
        case .send:
            answers[200] = Self.answer(
                "All in-sync replicas have acknowledged the event, or every event of the batch.",
                ["text/plain; charset=utf-8": ["type": "string"], "application/json": Self.reference("Results")])
            answers[207] = Self.answer(
                "Some events of the batch were written.", ["application/json": Self.reference("Results")])
            answers[400] = Self.problem("The event does not match the mapping; of a batch, no event does.")
            answers[401] = Self.problem("The bearer token is missing or unknown.")
            answers[403] = Self.problem("Not allowed from this address or web page without tokens.")
            answers[408] = Self.problem("The body arrives too slowly.")
            answers[413] = Self.problem(
                "The event or body is too long, or larger than a rate limit ever allows.", headers: ["RateLimit-Policy"])
            answers[415] = Self.problem("The media type is not supported.")
            answers[429] = Self.problem(
                "Rate limit exceeded; nothing was written.", headers: ["Retry-After", "RateLimit", "RateLimit-Policy"])
            answers[500] = Self.problem("Kafka refuses the event; trying again is useless.")
        case .metrics:
            answers[200] = Self.answer("The metrics.", [MetricsRegistry.contentType: ["type": "string"]])
        case .livez:
            answers[200] = Self.answer(
                "The process runs.", ["application/json": ["type": "object", "required": ["status"]]])
        case .readyz:
            answers[200] = Self.answer("The process is ready.", ["application/json": Self.reference("Readiness")])
            // While the process stops, the server answers with problem details.
            answers[503] = Self.answer(
                "The process is not ready.",
                ["application/json": Self.reference("Readiness"), "application/problem+json": Self.reference("Problem")],
                headers: ["Retry-After"])
        case .openAPI: answers[200] = Self.answer("This document.", ["application/json": ["type": "object"]])
        case .pause, .resume, .retry, .pauses:
            answers[200] =
                self == .retry
                ? Self.answer("The partitions that are claimed again.", ["application/json": Self.reference("Retried")])
                : Self.answer("The operator pauses in force.", ["application/json": Self.reference("Pauses")])
            answers[500] = Self.problem("PostgreSQL refuses the query; trying again is useless.")
            if self != .pauses {
                answers[400] = Self.problem("The body is invalid.")
                answers[404] = Self.problem("The topic or partition does not exist; or nobody may use this route any more.")
                answers[415] = Self.problem("The media type is not supported.")
            }
            if self == .resume { answers[409] = Self.problem("The scope is part of a wider pause.") }
            if self == .retry { answers[409] = Self.problem("No partition of this worker in the scope is stopped.") }
        }
        return answers
    }

    /// A response with a schema for each media type.
    private static func answer(
        _ description: String, _ content: KeyValuePairs<String, JSONValue>, headers: [String] = []
    ) -> JSONValue {
        var members: [JSONValue.Member] = [.init("description", .string(description))]
        if !headers.isEmpty {
            members.append(
                .init("headers", .object(headers.map { .init($0, ["$ref": .string("#/components/headers/\($0)")]) })))
        }
        members.append(.init("content", .object(content.map { .init($0.key, ["schema": $0.value]) })))
        return .object(members)
    }

    private static func problem(_ description: String, headers: [String] = []) -> JSONValue {
        answer(description, ["application/problem+json": reference("Problem")], headers: headers)
    }

    private static func reference(_ schema: String) -> JSONValue { ["$ref": .string("#/components/schemas/\(schema)")] }
}
