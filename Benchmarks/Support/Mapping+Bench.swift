// The mapping that the benchmarks decode by: the shipped one, without a file to be found.

import Decode

extension Mapping {
    /// Compiles the mapping of `messages`, as config/mappings/messages.yaml has it.
    static func messages() throws -> Mapping {
        func scalar(_ text: String) -> MappingNode { MappingNode(.scalar(text, isPlain: true), file: "bench", line: 1) }
        func list(_ texts: String...) -> MappingNode { MappingNode(.sequence(texts.map(scalar)), file: "bench", line: 1) }
        func map(_ entries: KeyValuePairs<String, MappingNode>) -> MappingNode {
            let entries = entries.map { MappingNode.Entry(key: $0.key, line: 1, value: $0.value) }
            return MappingNode(.mapping(entries), file: "bench", line: 1)
        }
        let root = map([
            "topics": list("messages"), "envelope": scalar("action"), "table": scalar("messages"), "mode": scalar("upsert"),
            "key": list("message_id"), "kafka_key": scalar("text"),
            "action": map([
                "path": scalar("/action"), "create": list("Create"), "update": list("Update"), "upsert": list("Upsert"),
                "delete": list("Delete"),
            ]),
            "columns": map([
                "message_id": map(["path": scalar("/message_id"), "type": scalar("int4")]),
                "name": map(["path": scalar("/data/name"), "type": scalar("text")]),
                "message": map(["path": scalar("/data/message"), "type": scalar("text")]),
            ]),
            "on_update": map(["last_updated": scalar("current_date")]),
        ])
        return try compile([root])[0]
    }
}
