// Calls simdjson's DOM parser for csimdjson.h. The DOM parser is used because it validates the whole document.
#include "csimdjson.h"

#include <algorithm>
#include <cstring>
#include <new>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

using namespace simdjson;
using internal::tape_ref;
using internal::tape_type;

const char *sj_version(void) noexcept { return SIMDJSON_STRINGIFY(SIMDJSON_VERSION); }

struct sj_parser {
    dom::parser parser;
    size_t max_bytes;
    size_t max_depth;
    /// Bytes of the largest document that the allocated memory suffices for.
    size_t capacity = 0;

    sj_parser(size_t bytes, size_t depth) noexcept : parser(), max_bytes(bytes), max_depth(depth) {}

    // simdjson allocates exactly what is requested; with powers of two, slowly growing documents do not allocate each time.
    error_code grow(size_t length) noexcept {
        size_t larger = 16384;
        while (larger < length) { larger *= 2; }
        capacity = 0;
        if (error_code error = parser.doc.allocate(larger)) { return error; }
        if (error_code error = parser.allocate(larger, max_depth)) { return error; }
        capacity = larger;
        return SUCCESS;
    }
};

namespace {

// Values are read from the parser's tape (simdjson's doc/tape.md) instead of through dom::element, which reads the type again at each
// step: a third of the instructions. The value of a container is its position on the tape: `pointer` is the document, `bits` the index.

inline tape_ref position(const sj_value &container) noexcept {
    return tape_ref(static_cast<const dom::document *>(container.pointer), static_cast<size_t>(container.bits));
}

inline void read(const tape_ref &element, sj_value &value) noexcept {
    value.is_repeated = false;
    value.pointer = nullptr;
    value.bits = 0;
    switch (element.tape_ref_type()) {
    case tape_type::STRING:
        value.type = SJ_STRING;
        value.pointer = element.get_c_str();
        value.bits = element.get_string_length();
        break;
    case tape_type::INT64:
        value.type = SJ_INT64;
        value.bits = element.next_tape_value<uint64_t>();
        break;
    case tape_type::UINT64:
        value.type = SJ_UINT64;
        value.bits = element.next_tape_value<uint64_t>();
        break;
    case tape_type::DOUBLE:
        value.type = SJ_DOUBLE;
        value.bits = element.next_tape_value<uint64_t>();
        break;
    case tape_type::TRUE_VALUE:
        value.type = SJ_BOOL;
        value.bits = 1;
        break;
    case tape_type::FALSE_VALUE:
        value.type = SJ_BOOL;
        break;
    case tape_type::START_ARRAY:
    case tape_type::START_OBJECT:
        value.type = element.tape_ref_type() == tape_type::START_ARRAY ? SJ_ARRAY : SJ_OBJECT;
        value.pointer = element.doc;
        value.bits = element.json_index;
        break;
    default:
        value.type = SJ_NULL;
        break;
    }
}

// Eight bytes may be read from every string's start: the string buffer ends with SIMDJSON_PADDING spare bytes.
inline bool equals(const sj_name &name, const char *bytes) noexcept {
    uint64_t head;
    std::memcpy(&head, bytes, sizeof head);
    if ((head & name.mask) != name.head) { return false; }
    return name.length <= sizeof head || std::memcmp(name.bytes, bytes, name.length) == 0;
}

}  // namespace

extern "C" {

sj_name sj_name_of(const char *bytes, size_t length) noexcept {
    sj_name name{bytes, length, 0, 0};
    const size_t head = std::min(length, sizeof name.head);
    const uint64_t all = ~uint64_t(0);
    std::memcpy(&name.head, bytes, head);
    std::memcpy(&name.mask, &all, head);
    return name;
}

sj_parser *sj_parser_new(size_t max_bytes, size_t max_depth) noexcept {
    sj_parser *parser = new (std::nothrow) sj_parser(max_bytes, max_depth);
    if (parser != nullptr && parser->grow(1) != SUCCESS) {
        delete parser;
        return nullptr;
    }
    return parser;
}

void sj_parser_free(sj_parser *parser) noexcept { delete parser; }

void sj_parser_shrink(sj_parser *parser, size_t bytes) noexcept {
    if (parser->capacity <= bytes) { return; }
    parser->parser = dom::parser();
    parser->capacity = 0;
}

int32_t sj_parse(sj_parser *parser, const void *document, size_t length, sj_value *root) noexcept {
    if (length > parser->max_bytes) { return SJ_TOO_LARGE; }
    if (length > parser->capacity || parser->capacity == 0) {
        if (parser->grow(length) != SUCCESS) { return SJ_NO_MEMORY; }
    }
    switch (parser->parser.parse(static_cast<const uint8_t *>(document), length, false).error()) {
    case SUCCESS:
        // The tape starts with a root word; the document's value follows.
        read(tape_ref(&parser->parser.doc, 1), *root);
        return SJ_OK;
    case MEMALLOC:
        return SJ_NO_MEMORY;
    case CAPACITY:
        return SJ_TOO_LARGE;
    case DEPTH_ERROR:
        return SJ_TOO_DEEP;
    default:
        return SJ_REFUSED;
    }
}

void sj_find(const sj_value *object, const sj_name *names, size_t count, sj_value *values) noexcept {
    for (size_t index = 0; index < count; index++) { values[index] = sj_value{}; }
    tape_ref key = position(*object);
    // The last word inside the object closes it.
    const size_t end = key.matching_brace_index() - 1;
    size_t next = 0;
    key.json_index++;
    while (key.json_index < end) {
        const size_t length = key.get_string_length();
        const tape_ref value(key.doc, key.json_index + 1);
        for (size_t tried = 0; tried < count; tried++) {
            const size_t candidate = next;
            next = next + 1 == count ? 0 : next + 1;
            if (names[candidate].length != length || !equals(names[candidate], key.get_c_str())) { continue; }
            if (values[candidate].type == SJ_ABSENT) {
                read(value, values[candidate]);
            } else {
                values[candidate].is_repeated = true;
            }
            break;
        }
        key.json_index = value.after_element();
    }
}

size_t sj_count(const sj_value *object) noexcept { return position(*object).scope_count(); }

ptrdiff_t sj_word(const sj_value *string, const sj_name *words, size_t count) noexcept {
    for (size_t index = 0; index < count; index++) {
        if (words[index].length != string->bits) { continue; }
        if (equals(words[index], static_cast<const char *>(string->pointer))) { return static_cast<ptrdiff_t>(index); }
    }
    return -1;
}

sj_value sj_at(const sj_value *array, size_t index) noexcept {
    sj_value value{};
    tape_ref element = position(*array);
    const size_t end = element.matching_brace_index() - 1;
    element.json_index++;
    while (element.json_index < end) {
        if (index == 0) {
            read(element, value);
            break;
        }
        index--;
        element.json_index = element.after_element();
    }
    return value;
}

bool sj_is_utf8(const void *bytes, size_t length) noexcept {
    return simdjson::validate_utf8(static_cast<const char *>(bytes), length);
}

}  // extern "C"
