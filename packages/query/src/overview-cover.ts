import type { MinuteRange } from '@stepwell/protocol/statistics'
import { coverOf, type RollupExtent, type Span, WIDTHS, type Width } from './rollup-cover.ts'

const MINUTE_MS = 60_000

/** Overviews to be added up: skill by skill, all together, or both. */
export interface OverviewPart {
  width: Width
  range: MinuteRange
  isBySkill: boolean
  isByTime: boolean
}

/** What a window of all skills is put together from. */
export interface OverviewCover {
  overviews: OverviewPart[]
  traces: (Span & { isBySkill: boolean })[]
}

/**
 * Covers a window for all skills. Skill by skill the largest overviews do; piece by piece none wider than `widest`, but the sum of the skills is enough:
 * where larger ones were taken, the small ones that are in them are read without their skills.
 */
export function coverOfAll(window: Span, extent: RollupExtent, widest: Width | undefined): OverviewCover {
  // Of all skills together there are minutes from the beginning.
  const all = { ...extent, minutesFrom: extent.rolledFrom }
  const cover = coverOf(window, all, WIDTHS[0])
  const isCut = (width: Width): boolean => widest !== undefined && width > widest
  const inside = cover.rollups
    .filter(({ width }) => isCut(width))
    .map(({ range: [from, to] }) =>
      coverOf({ fromMs: from * MINUTE_MS, toMs: to * MINUTE_MS }, all, widest as Width),
    )
  return {
    overviews: [
      ...cover.rollups.map((part) => ({
        ...part,
        isBySkill: true,
        isByTime: widest !== undefined && !isCut(part.width),
      })),
      ...inside.flatMap(({ rollups }) =>
        rollups.map((part) => ({ ...part, isBySkill: false, isByTime: true })),
      ),
    ],
    traces: [
      ...cover.traces.map((span) => ({ ...span, isBySkill: true })),
      ...inside.flatMap(({ traces }) => traces.map((span) => ({ ...span, isBySkill: false }))),
    ],
  }
}
