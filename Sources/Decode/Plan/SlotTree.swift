// Lays the fields a mapping reads out as slots, object by object.

/// The fields a mapping reads, as a tree while it is compiled.
///
/// `insert` every pointer, then `layout`: it numbers the slots as ``DecodePlan`` wants them.
struct SlotTree {
    private final class Node {
        let pointer: JSONPointer
        var children: [Node] = []
        var isRead = false
        var isEssential = false
        var slot = -1

        init(_ pointer: JSONPointer) { self.pointer = pointer }
    }

    /// Where everything lies.
    struct Layout {
        var objects: [ObjectStep] = []
        var essentialObjects = 0
        var pointers: [JSONPointer] = []
        var slots: [JSONPointer: Int] = [:]
    }

    private let root = Node(JSONPointer(tokens: []))

    /// Adds a field that is read as a value. `isEssential`: a Delete needs it.
    /// - Returns: a pointer above or below it that is read as a value too, which cannot be.
    func insert(_ pointer: JSONPointer, isEssential: Bool) -> JSONPointer? {
        var node = root
        for (depth, token) in pointer.tokens.enumerated() {
            if node.isRead { return node.pointer }
            if isEssential { node.isEssential = true }
            if let child = node.children.first(where: { $0.pointer.tokens[depth] == token }) {
                node = child
            } else {
                let child = Node(JSONPointer(tokens: Array(pointer.tokens[...depth])))
                node.children.append(child)
                node = child
            }
        }
        if let below = node.children.first { return below.pointer }
        node.isRead = true
        if isEssential { node.isEssential = true }
        return nil
    }

    /// Numbers the slots: objects that a Delete needs first, parents before children.
    func layout() -> Layout {
        var layout = Layout()
        place(root, into: &layout) { $0.isEssential }
        layout.essentialObjects = layout.objects.count
        place(root, into: &layout) { !$0.isEssential }
        return layout
    }

    private func place(_ node: Node, into layout: inout Layout, where isWanted: (Node) -> Bool) {
        if !node.children.isEmpty, isWanted(node) {
            let first = layout.pointers.count
            for (index, child) in node.children.enumerated() {
                child.slot = first + index
                layout.pointers.append(child.pointer)
                layout.slots[child.pointer] = child.slot
            }
            layout.objects.append(ObjectStep(parent: node.slot, first: first, count: node.children.count))
        }
        for child in node.children { place(child, into: &layout, where: isWanted) }
    }
}
