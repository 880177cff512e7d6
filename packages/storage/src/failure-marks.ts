import type { TraceRow } from '@stepwell/protocol'
import {
  errorPattern,
  failedStep,
  patternId,
  wordKeys,
  wordSetId,
  wordsOf,
} from '@stepwell/protocol/failures'

/** What a message is found by, as tables have it. */
export interface MessageMarks {
  /** The first 64 bits of the id of its set of words, signed. */
  signature: bigint
  wordCount: number
  /** What stands for its words (`wordKeys`). */
  words: number[]
  /** The id of its pattern, signed. */
  patternId: bigint
  pattern: string
}

/** What a trace that failed is found by. Follows from the other columns of its row, so it is no part of the merge law. */
export interface FailureMarks {
  /** Of a failed trace with a message. */
  message: MessageMarks | null
  /** Of a trace that failed or timed out in a step that is known. */
  step: string | null
}

/** The marks of a row; null where nothing failed. Takes 10 to 20 µs for a common message. */
export function failureMarks(row: Pick<TraceRow, 'status' | 'error_message' | 'steps'>): FailureMarks | null {
  if (row.status !== 'failed' && row.status !== 'timeout') return null
  return {
    message: row.status === 'failed' && row.error_message !== null ? messageMarks(row.error_message) : null,
    step: failedStep(row.status, row.steps),
  }
}

/** The marks of a message, an empty one too. Pure. */
export function messageMarks(message: string): MessageMarks {
  const words = wordsOf(message)
  const pattern = errorPattern(message)
  return {
    signature: signed(wordSetId(words).slice(0, 16)),
    wordCount: words.size,
    words: wordKeys(words),
    patternId: signed(patternId(pattern)),
    pattern,
  }
}

/** Sixteen hexadecimal digits as a `bigint` column holds them. */
export const signed = (hex: string): bigint => BigInt.asIntN(64, BigInt(`0x${hex}`))
