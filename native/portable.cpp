// The kernels in plain C++: what the others must equal, and what runs where they cannot.
#include <bit>

#include "scalar.hpp"

namespace intaglio {
namespace {

std::size_t lowest(std::uint64_t bits) { return static_cast<std::size_t>(std::countr_zero(bits)); }

void select(const View& view, const std::uint8_t* rows, std::size_t size, Block& block) {
    std::size_t count = 0;
    for (std::size_t start = 0; start < size; start += 64) {
        const std::size_t part = size - start < 64 ? size - start : 64;
        std::uint64_t certain = 0;
        std::size_t i = 0;
        for (; i + 8 <= part; i += 8) {
            std::uint32_t eight = 0;
            for (unsigned bit = 0; bit < 8; ++bit) eight |= view.certain[rows[start + i + bit]] & 1u << bit;
            certain |= static_cast<std::uint64_t>(eight) << i;
        }
        for (; i < part; ++i) certain |= static_cast<std::uint64_t>(view.certain[rows[start + i]] & 1) << i;
        const std::uint64_t coded = ~certain & ~std::uint64_t{0} >> (64 - part);
        block.coded[start / 64] = coded;
        for (std::uint64_t left = coded; left != 0; left &= left - 1) block.rows[count++] = rows[start + lowest(left)];
    }
    block.count = count;
}

template <class Symbol>
void gather(const Symbol* symbols, std::size_t size, Block& block) {
    std::size_t count = 0;
    block.marked = 0;
    for (std::size_t start = 0; start < size; start += 64) {
        const std::uint64_t coded = block.coded[start / 64];
        for (std::uint64_t left = coded; left != 0; left &= left - 1)
            block.symbols[count++] = static_cast<std::int16_t>(clamp16(symbols[start + lowest(left)]));
        const std::uint64_t all = ~std::uint64_t{0} >> (size - start < 64 ? 64 - (size - start) : 0);
        for (std::uint64_t left = all & ~coded; left != 0; left &= left - 1)
            if (symbols[start + lowest(left)] != 0) [[unlikely]]
                block.marks[block.marked++] = static_cast<std::uint16_t>(start + lowest(left));
    }
}

void scatter(const Block& block, std::int32_t* symbols, std::size_t size) {
    std::size_t count = 0;
    for (std::size_t start = 0; start < size; start += 64) {
        const std::size_t part = size - start < 64 ? size - start : 64;
        std::memset(symbols + start, 0, part * sizeof *symbols);
        for (std::uint64_t left = block.coded[start / 64]; left != 0; left &= left - 1)
            symbols[start + lowest(left)] = block.symbols[count++];
    }
}

std::uint8_t* encode(const View& tables, Lanes& lanes, Block& block, std::size_t last, std::uint8_t* words) {
    const View view = tables;  // copies that no store can change
    const std::size_t turn = lanes.count - 1;
    for (std::size_t at = last; at-- > 0;) words = encode_one(view, lanes.state[at & turn], block, at, words);
    return words;
}

bool decode(const View& view, Lanes& lanes, Block& block, std::size_t first, std::size_t last, Words& words) {
    return decode_from(view, lanes, block, {first, first, last}, words, Alone{});
}

bool follow(const View& view, Lanes& lanes, Block& block, Chains& chains, Span span, Words& words) {
    return decode_from(view, lanes, block, {span.first, span.first, span.last}, words, Following{chains});
}

}  // namespace

constinit const Kernels kPortable{
    "portable", select, gather<std::int16_t>, gather<std::int32_t>, scatter, encode, decode, follow};

}  // namespace intaglio
