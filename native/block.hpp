// What encoder and decoder share: checks, and the places of symbols.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernels.hpp"
#include "tables.hpp"

namespace intaglio {

inline constexpr std::uint8_t kSurpriseFlag = 8;  // of the first byte, beside the logarithm of the lane count

inline void check_rows(std::span<const std::uint8_t> rows, const Tables& tables) {
    std::uint8_t most = 0;
    for (const std::uint8_t row : rows) most = std::max(most, row);
    if (most >= tables.size())
        throw ArgumentError("index " + std::to_string(most) + " is too large: there are " +
                            std::to_string(tables.size()) + " tables");
}

// Whether a coded symbol's table lies beyond int16.
inline bool has_shifted(const Block& block, const Tables& tables) {
    return tables.shifted() && std::any_of(block.rows, block.rows + block.count,
                                           [&tables](std::uint8_t row) { return tables.shift(row) != 0; });
}

// How many coded symbols come before a place in the block.
inline std::size_t coded_before(const Block& block, std::size_t place) {
    const std::uint64_t below = (std::uint64_t{1} << place % 64) - 1;
    int count = std::popcount(block.coded[place / 64] & below);
    for (std::size_t word = 0; word < place / 64; ++word) count += std::popcount(block.coded[word]);
    return static_cast<std::size_t>(count);
}

// Finds the places in a block of coded symbols, or with all bits to `flip` of the others, by their numbers, ascending.
class Places {
public:
    explicit Places(const Block& block, std::uint64_t flip = 0) : block_(block), flip_(flip) {}

    std::size_t operator()(std::size_t number) {
        for (; before_ + found() <= number; ++word_) before_ += found();
        std::uint64_t bits = block_.coded[word_] ^ flip_;
        for (std::size_t skip = number - before_; skip > 0; --skip) bits &= bits - 1;
        return 64 * word_ + static_cast<std::size_t>(std::countr_zero(bits));
    }

private:
    std::size_t found() const { return static_cast<std::size_t>(std::popcount(block_.coded[word_] ^ flip_)); }

    const Block& block_;
    std::uint64_t flip_;
    std::size_t word_ = 0;
    std::size_t before_ = 0;  // symbols of the kind in the words before
};

}  // namespace intaglio
