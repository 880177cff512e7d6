/**
 * Jaccard similarity (Jaccard 1901): |a ∩ b| / |a ∪ b|, from 0 to 1. Two empty sets have nothing in common: 0. The quotient is
 * rounded correctly (IEEE 754), so 3 of 10 is the number that 0.3 is: a threshold is inclusive without further ado.
 */
export function jaccard(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const [small, large] = a.size <= b.size ? [a, b] : [b, a]
  let common = 0
  for (const word of small) if (large.has(word)) common += 1
  const union = a.size + b.size - common
  return union === 0 ? 0 : common / union
}
