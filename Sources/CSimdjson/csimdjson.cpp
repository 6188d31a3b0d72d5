// Calls simdjson's DOM parser for csimdjson.h. The DOM parser is used because it validates the whole document.
#include "csimdjson.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <new>
#include <system_error>

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
    bool locates;
    /// Bytes of the largest document that the allocated memory suffices for.
    size_t capacity = 0;
    /// The document that was parsed last.
    const uint8_t *document = nullptr;

    sj_parser(size_t bytes, size_t depth, bool locates) noexcept
        : parser(), max_bytes(bytes), max_depth(depth), locates(locates) {}

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
// step: a third of the instructions. The value of a container is its position on the tape: `pointer` is the parser, `bits` the index.

inline const sj_parser *parser_of(const void *pointer) noexcept { return static_cast<const sj_parser *>(pointer); }

// The tape has neither the texts of numbers nor the positions of values. simdjson's first stage keeps the position of each token (a bracket,
// a colon, a comma, the first byte of any other value) in the order of the document: where values are to be located, a second walk over
// these goes along with that over the tape. `token` is 1 more than the index of a value's first token.

inline const uint32_t *tokens(const sj_parser *parser) noexcept { return parser->parser.implementation->structural_indexes.get() - 1; }

// The token after a value that begins with `token`.
inline uint32_t after(const sj_parser *parser, uint32_t token) noexcept {
    const uint32_t *positions = tokens(parser);
    size_t depth = 0;
    do {
        const uint8_t first = parser->document[positions[token]];
        token++;
        if (first == '{' || first == '[') { depth++; }
        if (first == '}' || first == ']') { depth--; }
    } while (depth > 0);
    return token;
}

inline void read(const sj_parser *parser, const tape_ref &element, uint32_t token, sj_value &value) noexcept {
    value.is_repeated = false;
    value.token = token;
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
        value.pointer = parser;
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

template <bool locates>
inline void find(const sj_value &object, const sj_name *names, size_t count, sj_value *values) noexcept {
    for (size_t index = 0; index < count; index++) { values[index] = sj_value{}; }
    const sj_parser *parser = parser_of(object.pointer);
    tape_ref key(&parser->parser.doc, static_cast<size_t>(object.bits));
    // The last word inside the object closes it.
    const size_t end = key.matching_brace_index() - 1;
    size_t next = 0;
    key.json_index++;
    // The tokens of a field: its name, a colon, those of the value, a comma.
    uint32_t token = locates ? object.token + 3 : 0;
    while (key.json_index < end) {
        const size_t length = key.get_string_length();
        const tape_ref value(key.doc, key.json_index + 1);
        for (size_t tried = 0; tried < count; tried++) {
            const size_t candidate = next;
            next = next + 1 == count ? 0 : next + 1;
            if (names[candidate].length != length || !equals(names[candidate], key.get_c_str())) { continue; }
            if (values[candidate].type == SJ_ABSENT) {
                read(parser, value, token, values[candidate]);
            } else {
                values[candidate].is_repeated = true;
            }
            break;
        }
        key.json_index = value.after_element();
        if (locates && key.json_index < end) { token = after(parser, token) + 3; }
    }
}

// What is out of range is infinite or zero with some versions of the standard library and an error with others.
template <typename Number>
inline bool read_number(const void *text, size_t length, Number &value) noexcept {
    const char *first = static_cast<const char *>(text);
    const char *last = first + length;
    const auto [end, error] = std::from_chars(first, last, value);
    if (end != last || first == last || error == std::errc::invalid_argument) { return false; }
    // from_chars also reads inf and nan.
    if (!std::all_of(first, last, [](char c) { return (c >= '0' && c <= '9') || std::strchr("+-.eE", c) != nullptr; })) { return false; }
    if (error == std::errc::result_out_of_range) { value = std::numeric_limits<Number>::infinity(); }
    return true;
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

sj_parser *sj_parser_new(size_t max_bytes, size_t max_depth, bool locates) noexcept {
    sj_parser *parser = new (std::nothrow) sj_parser(max_bytes, max_depth, locates);
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
    parser->document = static_cast<const uint8_t *>(document);
    switch (parser->parser.parse(parser->document, length, false).error()) {
    case SUCCESS:
        // The tape starts with a root word; the document's value follows.
        read(parser, tape_ref(&parser->parser.doc, 1), parser->locates ? 1 : 0, *root);
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
    if (object->token == 0) {
        find<false>(*object, names, count, values);
    } else {
        find<true>(*object, names, count, values);
    }
}

size_t sj_count(const sj_value *object) noexcept {
    return tape_ref(&parser_of(object->pointer)->parser.doc, static_cast<size_t>(object->bits)).scope_count();
}

ptrdiff_t sj_word(const sj_value *string, const sj_name *words, size_t count) noexcept {
    for (size_t index = 0; index < count; index++) {
        if (words[index].length != string->bits) { continue; }
        if (equals(words[index], static_cast<const char *>(string->pointer))) { return static_cast<ptrdiff_t>(index); }
    }
    return -1;
}

sj_elements sj_elements_of(const sj_value *array) noexcept {
    const tape_ref start(&parser_of(array->pointer)->parser.doc, static_cast<size_t>(array->bits));
    return sj_elements{array->pointer, array->bits + 1, start.matching_brace_index() - 1, array->token == 0 ? 0 : array->token + 1};
}

bool sj_next(sj_elements *elements, sj_value *value) noexcept {
    if (elements->index >= elements->end) { return false; }
    const sj_parser *parser = parser_of(elements->parser);
    const tape_ref element(&parser->parser.doc, static_cast<size_t>(elements->index));
    read(parser, element, elements->token, *value);
    elements->index = element.after_element();
    if (elements->token != 0) { elements->token = after(parser, elements->token) + 1; }
    return true;
}

sj_elements sj_fields_of(const sj_value *object) noexcept { return sj_elements_of(object); }

bool sj_next_field(sj_elements *fields, sj_value *name, sj_value *value) noexcept {
    if (fields->index >= fields->end) { return false; }
    const sj_parser *parser = parser_of(fields->parser);
    const tape_ref key(&parser->parser.doc, static_cast<size_t>(fields->index));
    const tape_ref content(key.doc, key.json_index + 1);
    // A colon stands between them.
    const uint32_t token = fields->token == 0 ? 0 : fields->token + 2;
    read(parser, key, fields->token, *name);
    read(parser, content, token, *value);
    fields->index = content.after_element();
    if (token != 0) { fields->token = after(parser, token) + 1; }
    return true;
}

sj_value sj_at(const sj_value *array, size_t index) noexcept {
    sj_elements elements = sj_elements_of(array);
    sj_value value{};
    while (sj_next(&elements, &value)) {
        if (index == 0) { return value; }
        index--;
    }
    return sj_value{};
}

void sj_read_texts_from(sj_parser *parser, const void *document) noexcept {
    parser->document = static_cast<const uint8_t *>(document);
}

sj_text sj_raw(const sj_value *value, const sj_parser *parser) noexcept {
    const uint8_t *start = parser->document + tokens(parser)[value->token];
    const uint8_t *end = start + 1;
    switch (value->type) {
    case SJ_OBJECT:
    case SJ_ARRAY:
        end = parser->document + tokens(parser)[after(parser, value->token) - 1] + 1;
        break;
    case SJ_STRING:
        while (*end != '"') { end += *end == '\\' ? 2 : 1; }
        end++;
        break;
    default:
        // A number, true, false or null: inside of an object or an array something else follows.
        while ((*end >= '0' && *end <= '9') || (*end >= 'a' && *end <= 'z') || *end == '.' || *end == 'E' || *end == '+' || *end == '-') {
            end++;
        }
        break;
    }
    return sj_text{start, static_cast<size_t>(end - start)};
}

bool sj_read_float4(const void *text, size_t length, float *value) noexcept { return read_number(text, length, *value); }
bool sj_read_float8(const void *text, size_t length, double *value) noexcept { return read_number(text, length, *value); }
size_t sj_write_float4(float value, char *text) noexcept { return std::to_chars(text, text + 32, value).ptr - text; }
size_t sj_write_float8(double value, char *text) noexcept { return std::to_chars(text, text + 32, value).ptr - text; }

bool sj_is_utf8(const void *bytes, size_t length) noexcept {
    return simdjson::validate_utf8(static_cast<const char *>(bytes), length);
}

}  // extern "C"
