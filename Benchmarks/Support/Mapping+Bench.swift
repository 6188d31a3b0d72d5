// The benchmarks' mapping: that of examples/messages/mapping.yaml, without reading the file.

import Decode
import Settings

extension Mapping {
    /// Compiles the mapping of `messages`, as examples/messages/mapping.yaml has it.
    static func messages() throws -> Mapping {
        let text = """
            topics: [messages]
            envelope: action
            table: messages
            mode: upsert
            key: [message_id]
            kafka_key: text
            action: {path: /action, create: [Create], update: [Update], upsert: [Upsert], delete: [Delete]}
            columns:
              message_id: {path: /message_id, type: int4}
              name: {path: /data/name, type: text}
              message: {path: /data/message, type: text}
            on_update:
              last_updated: current_date
            """
        return try compile([YAML.parse(text: text, file: "bench")])[0]
    }
}
