// Tests the route: which mapping decodes a record of a topic that several have.

import Decode
import Records
import Settings
import TestSupport
import Testing

/// Mappings of orders, invoices and notes with one route, and their decoders.
private struct RouteWorld {
    static let texts = [
        "orders": "topics: [t, '^shop']\ntable: orders\nkey: [id]\nenvelope: upsert\n"
            + "columns: {id: {path: /id, type: int4}, total: {path: /total, type: numeric}}",
        "invoices":
            "topics: [t]\ntable: invoices\nkey: [no]\nenvelope: upsert\nkafka_key: none\nwhere: {path: /draft, exists: false}\n"
            + "columns: {no: {path: /no, type: text}, at: {metadata: offset, type: int8}}",
        "notes": "topics: [t, '^sh']\ntable: notes\nmode: append\nenvelope: debezium\ncolumns: {note: {path: /note, type: text}}",
    ]

    let mappings: [Mapping]
    let routes: TopicRoutes
    let decoder: RouteDecoder

    /// - Parameter tables: each value, with the position of its mapping: 0 orders, 1 invoices, 2 notes.
    init(
        by: String, _ tables: [(String, Int)] = [("order", 0), ("invoice", 1), ("note", 2), ("7", 0), ("true", 1)],
        otherwise: Route.Otherwise = .deadLetter
    ) throws {
        let names = ["orders", "invoices", "notes"]
        let nodes = try names.map { try YAML.parse(text: Self.texts[$0]!, file: "\($0).yaml") }
        mappings = try Mapping.compile(nodes, routed: Set(names.map { "\($0).yaml" }))
        routes = TopicRoutes(mappings.map(\.topics), routed: [0, 1, 2])
        let route = try #require(Route(by: by, tables: tables.map { (value: $0.0, mapping: $0.1) }, otherwise: otherwise))
        decoder = RouteDecoder(route, decoders: mappings.map { Decoder(mapping: $0) }, routed: routes.routed)
    }

    func decode(_ samples: [Sample], topic: String = "t") -> ChangeBatch {
        decoder.decode(batch(samples, topic: topic), readers: routes.readers(of: topic))
    }

    /// Of each sample: the position of the mapping, with the fault where there is one; `route`, with the fault; or `skipped`.
    func words(_ samples: [Sample], topic: String = "t") -> [String] {
        let changes = decode(samples, topic: topic)
        return samples.indices.map { index in
            if let fault = changes.faults.first(where: { $0.record == index }) { return "route \(fault.reason)" }
            for (part, changes) in changes.parts.enumerated() {
                if let fault = changes?.faults.first(where: { $0.record == index }) { return "\(part) \(fault.reason)" }
                if changes?.changes.contains(where: { $0.record == index }) == true { return "\(part)" }
            }
            return "skipped"
        }
    }
}

private func order(_ type: String, _ rest: String = "") -> Sample { Sample(#"{"type":\#(type),"id":1,"total":2\#(rest)}"#) }

@Suite struct RouteTests {
    @Test func `a value is compared as a word`() throws {
        let world = try RouteWorld(by: "/type")
        let samples = [
            order(#""order""#), order("7"), order(#""7""#), Sample(#"{"no":"a","type":"invoice"}"#),
            Sample(#"{"no":"a","type":true}"#),
            order(#""Order""#), order("7.0"), order("[7]"), order("null"), Sample(#"{"id":1}"#), Sample(nil, key: "1"),
            Sample(#"{"type":"order","id":"#), Sample("[1]"), order(#""order""#, #","type":"invoice""#),
            order(#""order""#, #","x":1e999"#),
            Sample(#"{"type":"invoice","no":"a","draft":1}"#), Sample(#"{"type":"order"}"#), Sample("null", key: "1"),
        ]
        let expected = [
            "0", "0", "0", "1", "1", "route no_route", "route no_route", "route no_route", "route no_route", "route no_route",
            "skipped",
            "route malformed_json", "route not_an_object", "route duplicate_field", "0", "skipped", "0 missing_field",
            "skipped",
        ]
        #expect(world.words(samples) == expected)
        // What is skipped by the route is what its tables do not take, not what is malformed.
        let skipping = try RouteWorld(by: "/type", otherwise: .skip)
        #expect(skipping.words(samples) == expected.map { $0 == "route no_route" ? "skipped" : $0 })
    }

    @Test func `a pointer may lead into objects and arrays`() throws {
        let world = try RouteWorld(by: "/meta/0/kind")
        let samples = [
            Sample(#"{"meta":[{"kind":"order"}],"id":1,"total":2}"#),
            Sample(#"{"meta":{"0":{"kind":"order"}},"id":1,"total":2}"#),
            Sample(#"{"meta":5}"#), Sample(#"{"meta":[]}"#),
        ]
        #expect(world.words(samples) == ["0", "0", "route no_route", "route no_route"])
    }

    @Test func `a header is the last one of its name, and null payloads have it`() throws {
        let world = try RouteWorld(by: "header.kind")
        var samples = [Sample("{}"), order("1"), Sample(nil, key: "5"), Sample("{"), Sample("{}")]
        samples[1].headers = [("kind", Array("invoice".utf8)), ("kind", Array("order".utf8))]
        samples[2].headers = [("kind", Array("order".utf8))]
        samples[3].headers = [("kind", Array("order".utf8))]
        samples[4].headers = [("kind", nil)]
        #expect(world.words(samples) == ["route no_route", "0", "0", "0 malformed_json", "route no_route"])
    }

    @Test func `a topic is a value, and belongs to the mappings that have it`() throws {
        let world = try RouteWorld(by: "topic", [("t", 0), ("shop", 2), ("ship", 0)])
        #expect(world.words([order("1")]) == ["0"])
        let row = Sample(#"{"op":"c","after":{"note":"n"}}"#)
        #expect(world.words([row], topic: "shop") == ["2"])
        #expect(world.words([row], topic: "shed") == ["route no_route"])
        // The mapping `orders` does not read this topic.
        #expect(world.words([order("1")], topic: "ship") == ["route no_route"])
    }

    @Test func `the sentence has nothing of the record`() throws {
        func detail(_ by: String, _ sample: Sample, topic: String = "t") throws -> String? {
            try RouteWorld(by: by, [("order", 0), ("note", 2)]).decode([sample], topic: topic).faults.first?.detail
        }
        #expect(try detail("/type", order(#""secret""#)) == "/type must be one of order, note, the tables of the route")
        #expect(try detail("/type", order("null")) == "/type is missing or null: no table of the route is for the record")
        #expect(
            try detail("header.kind", order("1")) == "header kind is missing or null: no table of the route is for the record")
        #expect(
            try detail("/type", order(#""order""#), topic: "shed")
                == "/type names the mapping orders, which does not have the topic shed")
    }

    @Test func `a batch stops where one of its mappings does`() throws {
        let world = try RouteWorld(by: "/type")
        let note = Sample(#"{"type":"note","op":"c","after":{"note":"n"}}"#)
        let truncate = Sample(#"{"type":"note","op":"t"}"#)
        // Mode append takes no Delete, so a truncate is skipped: as in the mapping's own topic.
        #expect(world.decode([note, truncate]).stop == nil)
        let text = "topics: [t]\ntable: x\nkey: [id]\nenvelope: debezium\ncolumns: {id: {path: /id, type: int4}}"
        let nodes = try ["a", "b"].map { name in
            try YAML.parse(text: name == "a" ? text : RouteWorld.texts["orders"]!, file: name)
        }
        let mappings = try Mapping.compile(nodes, routed: ["a", "b"])
        let route = try #require(Route(by: "/type", tables: [("note", 0), ("order", 1)], otherwise: .skip))
        let decoder = RouteDecoder(route, decoders: mappings.map { Decoder(mapping: $0) }, routed: [0, 1])
        let changes = decoder.decode(batch([order(#""order""#), truncate, order(#""order""#)]), readers: [0, 1])
        #expect(changes.stop?.record == 1 && changes.stop?.reason.kind == .truncate)
        #expect(changes.parts[1]?.changes.map(\.record) == [0, 2] && changes.changes.isEmpty)
    }

    /// Each record becomes what its own mapping makes of it alone.
    @Test func `random interleavings equal each record alone`() throws {
        var random = SeededRandom.printed("route")
        let world = try RouteWorld(by: "/type")
        let alone = world.mappings.map { Decoder(mapping: $0) }
        let samples: [(part: Int, sample: Sample)] = (0..<2_000).map { number in
            switch random.next() % 5 {
            case 0: (0, Sample(#"{"type":"order","id":\#(number),"total":1.\#(number)}"#, key: "\(number)"))
            case 1: (1, Sample(#"{"type":"invoice","no":"\#(number)\#(String(repeating: "x", count: number % 300))"}"#))
            case 2: (2, Sample(#"{"type":"note","op":"c","after":{"note":"\#(number)"}}"#))
            case 3: (0, Sample(#"{"type":7,"id":"wrong"}"#))
            // Not the number alone: "7" is the value 7, which has a table.
            default: (-1, Sample(#"{"type":"other \#(number)"}"#))
            }
        }
        var start = 0
        while start < samples.count {
            let some = samples[start..<min(samples.count, start + Int.random(in: 1...200, using: &random))]
            start = some.endIndex
            let records = batch(some.map(\.sample))
            let changes = world.decoder.decode(records, readers: [0, 1, 2])
            for part in 0..<3 {
                let own = some.enumerated().filter { $0.element.part == part }.map { Int32($0.offset) }
                let whole = alone[part].decode(records)
                guard let found = changes.parts[part] else {
                    #expect(own.isEmpty, "no part \(part)")
                    continue
                }
                let rows = found.changes.indices.map { found.row($0) }
                let expected = whole.changes.indices.filter { own.contains(whole.changes[$0].record) }
                #expect(
                    rows == expected.map { whole.row($0) }
                        && found.changes.map(\.record) == expected.map { whole.changes[$0].record })
                #expect(found.faults == whole.faults.filter { own.contains($0.record) })
            }
            #expect(changes.faults.map(\.record) == some.enumerated().filter { $0.element.part < 0 }.map { Int32($0.offset) })
        }
    }

    @Test func `an event without a record is checked by its own mapping`() throws {
        func answers(
            _ by: String, _ events: [String], otherwise: Route.Otherwise = .deadLetter, topic: String = "t"
        ) throws -> [String] {
            let world = try RouteWorld(
                by: by, by == "topic" ? [("t", 0), ("shop", 2)] : [("order", 0), ("invoice", 1), ("note", 2)],
                otherwise: otherwise)
            let validator = RoutedEventValidator(world.decoder, topic: topic, readers: world.routes.readers(of: topic))
            return events.map { text in
                let (fault, key) = validate(validator, Array(text.utf8))
                return fault?.reason ?? (validator.hasKey ? String(decoding: key, as: UTF8.self) : "no key")
            }
        }
        let events = [
            #"{"type":"order","id":7,"total":1}"#, #"{"type":"order","id":"x","total":1}"#, #"{"type":"invoice","no":"A"}"#,
            #"{"type":"invoice","no":"A","draft":1}"#, #"{"type":"other","id":7}"#, #"{"id":7}"#, "[]", #"{"type":"order","#,
        ]
        #expect(
            try answers("/type", events) == [
                "7", "wrong_type", "A", "A", "no_route", "no_route", "not_an_object",
                "malformed_json",
            ])
        #expect(
            try answers("/type", events, otherwise: .skip)[4...] == ["no key", "no key", "not_an_object", "malformed_json"],
            "an event that the worker would skip is valid")
        // The mapping of the invoices does not have the topic.
        #expect(try answers("/type", events, topic: "shop")[...2] == ["7", "wrong_type", "no_route"])
        #expect(try answers("topic", events)[...2] == ["7", "wrong_type", "missing_field"])
        #expect(try answers("topic", events, topic: "shelf")[0] == "no_route")
    }

    @Test func `an event without a record has the route's header from elsewhere`() throws {
        let world = try RouteWorld(by: "header.kind", [("order", 0), ("invoice", 1)])
        let validator = RoutedEventValidator(world.decoder, topic: "t", readers: world.routes.readers(of: "t"))
        #expect(validator.routeHeader?.name == "kind" && validator.routeHeader?.longest == 7)
        #expect(Decoder(mapping: world.mappings[0]).routeHeader == nil)
        func answer(_ header: String?, _ text: String) -> String {
            var event = ByteBuffer()
            var key = ByteBuffer()
            Array(text.utf8).withUnsafeBytes { event.append($0) }
            let fault = validator.validate(event.bytes, header: header.map { Array($0.utf8) }, key: &key)
            return fault.map { "\($0.reason): \($0.detail)" } ?? String(decoding: key.bytes, as: UTF8.self)
        }
        #expect(answer("order", #"{"id":7,"total":1}"#) == "7" && answer("invoice", #"{"no":"A"}"#) == "A")
        #expect(answer("order", #"{"no":"A"}"#).hasPrefix("missing_field: "))
        #expect(answer(nil, #"{"id":7,"total":1}"#).hasPrefix("no_route: header kind is missing or null"))
        for other in ["", "Order", "order,invoice"] {
            #expect(answer(other, #"{"id":7,"total":1}"#).hasPrefix("no_route: header kind must be one of order, invoice"))
        }
    }

    @Test func `the JSON value null is a payload where one of the envelopes has it`() throws {
        func faults(_ envelopes: [String]) throws -> [String] {
            let nodes = try envelopes.enumerated().map { index, envelope in
                let action = envelope == "action" ? "\naction: {path: /op, upsert: [u]}" : ""
                return try YAML.parse(
                    text: "topics: [t]\ntable: t\(index)\nkey: [id]\nenvelope: \(envelope)\(action)\n"
                        + "columns: {id: {path: /id, type: int4}}", file: "\(index).yaml")
            }
            let mappings = try Mapping.compile(nodes, routed: ["0.yaml", "1.yaml"])
            let routes = TopicRoutes(mappings.map(\.topics), routed: [0, 1])
            let route = try #require(Route(by: "/type", tables: [("a", 0), ("b", 1)], otherwise: .deadLetter))
            let decoder = RouteDecoder(route, decoders: mappings.map { Decoder(mapping: $0) }, routed: [0, 1])
            return decoder.decode(batch([Sample("null")], topic: "t"), readers: routes.readers(of: "t")).faults.map(\.reason)
        }
        #expect(try faults(["upsert", "debezium"]) == [])
        #expect(try faults(["upsert", "action"]) == ["not_an_object"])
    }

    @Test func whatIsNoSource() {
        for text in ["", "type", "header.", "headers.kind", "Topic", "/a~2"] { #expect(!Route.isSource(text), "\(text)") }
        for text in ["/type", "/a/0", "header.a.b", "topic"] { #expect(Route.isSource(text), "\(text)") }
    }

    @Test func onlyMappingsOfTheRouteHaveATopicInCommon() throws {
        func text(_ table: String, _ topics: String) -> String {
            "topics: \(topics)\ntable: \(table)\nkey: [id]\nenvelope: upsert\ncolumns: {id: {path: /i, type: int4}}"
        }
        func faults(_ names: [String], routed: Set<String>) throws -> [String] {
            let nodes = try names.map { try YAML.parse(text: text($0, "[t]"), file: "\($0).yaml") }
            do throws(MappingFaults) {
                _ = try Mapping.compile(nodes, routed: routed)
                return []
            } catch {
                return error.faults.map(\.description)
            }
        }
        #expect(try faults(["a", "b", "c"], routed: ["a.yaml", "b.yaml", "c.yaml"]) == [])
        let expected = ["c.yaml:1: topic 't' is also in b.yaml; a topic belongs to one mapping, or to several of route.tables"]
        #expect(try faults(["a", "b", "c"], routed: ["a.yaml", "b.yaml"]) == expected)
        #expect(
            try faults(["a", "route"], routed: ["a.yaml", "route.yaml"])
                == [
                    "route.yaml:1: a mapping must not be called route: dead letters and metrics name the route so; "
                        + "rename the file"
                ])
    }
}

extension TopicRoutesTests {
    @Test func aTopicOfSeveralMappingsOfTheRouteIsRouted() {
        // The last is no mapping of the route.
        let routes = TopicRoutes([["a", "b", "^x"], ["a", "^xy", "^b"], ["plain", "^xyz"]], routed: [0, 1])
        let owners = ["a": 3, "b": 3, "x1": 0, "xy": 3, "plain": 2, "c": nil]
        for (topic, owner) in owners {
            #expect(routes.mapping(of: topic) == owner, "\(topic)")
            #expect(routes.mapping(of: topic) == owner, "\(topic), from memory")
            #expect(routes.conflict(over: topic) == nil)
        }
        #expect(routes.conflict(over: "xyz") == [0, 1, 2], "a mapping outside of the route matches it, too")
        #expect(routes.readers(of: "b") == [0, 1] && routes.readers(of: "x1") == [0])
        // A name of a mapping outside of the route goes before its expressions.
        #expect(TopicRoutes([["^p"], ["^p"], ["p"]], routed: [0, 1]).mapping(of: "p") == 2)
    }
}
