// Reads a fuzzer's bytes as what a target needs.
#pragma once

#include <algorithm>

#include "../tests/harness.hpp"

namespace fuzz {

using harness::Bytes;
using harness::Symbols;
using harness::Work;

// Past the end everything is zero.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : bytes_(data, size) {}

    std::size_t left() const { return bytes_.size(); }

    std::uint8_t byte() {
        if (bytes_.empty()) return 0;
        const std::uint8_t first = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return first;
    }

    std::uint32_t number(int bytes) {
        std::uint32_t value = 0;
        for (int i = 0; i < bytes; ++i) value |= std::uint32_t{byte()} << 8 * i;
        return value;
    }

    std::span<const std::uint8_t> take(std::size_t size) {
        const auto taken = bytes_.first(std::min(size, bytes_.size()));
        bytes_ = bytes_.subspan(taken.size());
        return taken;
    }

    std::span<const std::uint8_t> rest() { return take(bytes_.size()); }

private:
    std::span<const std::uint8_t> bytes_;
};

inline constexpr std::size_t kMostSymbols = 8700;  // more than one block; larger ones cost time and find nothing new

// A few lengths are cut off first, the rest is one slice.
inline std::vector<std::size_t> cut(Input& input, std::size_t size) {
    std::vector<std::size_t> slices;
    for (std::size_t number = input.byte() % 8; number > 0; --number) {
        slices.push_back(std::min<std::size_t>(input.number(2), size));
        size -= slices.back();
    }
    slices.push_back(size);
    return slices;
}

// A symbol that means something to the table, or any.
inline std::int32_t symbol(Input& input, const intaglio::Tables& tables, std::size_t row) {
    const std::uint8_t kind = input.byte();
    const std::int64_t first = tables.first(row);
    const std::int64_t regular = tables.regular(row);
    std::int64_t symbol = kind >> 3;
    switch (kind & 7) {
        case 0: symbol = 0; break;
        case 1: symbol += first; break;
        case 2: symbol = first + regular - 1 - symbol; break;
        case 3: symbol = first + input.number(2) % regular; break;
        case 4: symbol = first - 1 - symbol; break;
        case 5: symbol += first + regular; break;
        case 6: symbol = kind & 8 ? INT32_MAX - (symbol >> 1) : INT32_MIN + (symbol >> 1); break;
        default: symbol = static_cast<std::int32_t>(input.number(4)); break;
    }
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(symbol, INT32_MIN, INT32_MAX));
}

// Symbols made of the remaining bytes, repeated up to a length that they choose.
inline Work work(Input& input, const intaglio::Tables& tables) {
    Work work;
    const std::size_t size = input.byte() % 8 ? input.byte() : input.number(2) % kMostSymbols;
    work.slices = cut(input, size);
    const std::size_t once = size < 256 ? size : 1 + input.number(2) % size;
    for (std::size_t i = 0; i < size; ++i) {
        if (i > 0 && (i >= once || input.left() == 0)) {
            const std::size_t again = i % std::min(i, once);
            work.rows.push_back(work.rows[again]);
            work.symbols.push_back(work.symbols[again]);
            continue;
        }
        work.rows.push_back(static_cast<std::uint8_t>(input.byte() % tables.size()));
        work.symbols.push_back(symbol(input, tables, work.rows.back()));
    }
    return work;
}

}  // namespace fuzz
