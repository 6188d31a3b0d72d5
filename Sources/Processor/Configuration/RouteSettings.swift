// Declares the section `route`: a topic whose events are for several tables.

import Decode
import Platform
import Settings

struct RouteSettings: Sendable {
    var by = ""
    var tables: [NamedText] = []
    var otherwise = Route.Otherwise.deadLetter

    static let section = Section<RouteSettings>(
        "route",
        help:
            "Divides the records of topics that several mappings have: the value of a field or header says which mapping decodes "
            + "a record. All of these tables are written in one transaction.",
        keys: [
            Key(
                "by", \.by, .string,
                help:
                    "Where the value is: a JSON Pointer into the event (/type), header.NAME (the last header of the name), or "
                    + "topic. Empty: there is no route."),
            Key(
                "tables", \.tables, .orderedMap(of: .path),
                help:
                    "The values, and the mapping file of each, relative to this file, such as {order: orders.yaml, invoice: "
                    + "invoices.yaml}. In a transaction tables are written in this order: those that others reference come first."
            ),
            Key(
                "otherwise", \.otherwise, .choice,
                help:
                    "What happens to a record whose value is missing, or not in the list: dead_letter, with the reason "
                    + "decode:no_route, or skip."),
        ],
        rules: [
            Rule(
                "by", "tables", sentence: "by and tables must be given together: where the value is, and a mapping file for each"
            ) {
                $0.by.isEmpty == $0.tables.isEmpty
            }
        ])

    /// The mapping files, each once.
    var files: [String] {
        var files: [String] = []
        for table in tables where !files.contains(table.text) { files.append(table.text) }
        return files
    }

    /// The route; `nil`: there is none, or it has faults.
    /// - Parameters:
    ///   - files: of all mappings.
    ///   - origin: where a key is set.
    func compile(
        _ files: [String], _ mappings: [Mapping], _ routes: TopicRoutes, origin: (_ key: String) -> Origin,
        _ faults: inout [Fault]
    ) -> Route? {
        if by.isEmpty || tables.isEmpty { return nil }
        let route = Route(
            by: by, tables: tables.map { ($0.name, files.firstIndex(of: $0.text) ?? 0) }, otherwise: otherwise)
        if route == nil {
            let hint = Route.meant(by: by).map { "; did you mean \($0)?" }
            faults.append(
                Fault(
                    origin("route.by"), key: "route.by",
                    "must be a JSON Pointer such as /type, header.NAME or topic, is \(by)\(hint ?? "")"))
        }
        if by == "topic" {
            for (value, file) in tables.map({ ($0.name, $0.text) }) {
                guard let mapping = files.firstIndex(of: file), mapping < mappings.count else { continue }
                if TopicRoutes([mappings[mapping].topics]).mapping(of: value) != nil { continue }
                faults.append(
                    Fault(
                        origin("route.tables"), key: "route.tables",
                        "\(value) is not a topic of \(mappings[mapping].name); with by: topic the values are topics"))
            }
        }
        let topics = mappings.isEmpty ? [] : routes.routed.flatMap { Set(mappings[$0].topics) }
        if !topics.isEmpty, Set(topics).count == topics.count, !topics.contains(where: TopicPattern.isPattern) {
            faults.append(
                Fault(
                    origin("route.tables"), key: "route.tables",
                    "no topic is in two of these mappings, so there is nothing to route: name it in each that takes records of it"
                ))
        }
        return route
    }
}
