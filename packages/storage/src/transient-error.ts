import { StepwellError } from '@stepwell/protocol'

// SQLSTATE classes and codes that pass by themselves: connections (08), resources (53), operator intervention and
// time-outs (57), serialization (40001), deadlock (40P01), lock not available (55P03), read-only (25006), stood still in a transaction
// (25P03), I/O (58030).
// https://www.postgresql.org/docs/current/errcodes-appendix.html
const TRANSIENT_CLASSES = new Set(['08', '53', '57'])
const TRANSIENT_CODES = new Set(['40001', '40P01', '55P03', '25006', '25P03', '58030'])
// Of these, what others do to the same rows, or what a statement is too large for.
const CONFLICT_CODES = new Set(['40001', '40P01', '55P03', '57014'])

/** The SQLSTATE of a database error, or undefined: the connection's own errors have none. */
export function sqlState(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && 'severity' in (error as object)
    ? code
    : undefined
}

/**
 * Whether the same statement can succeed later. Decided by code, never by text: errors without a SQLSTATE are the
 * connection's; our own errors, and programming errors (TypeError and its like), are nobody's outage.
 */
export function isTransient(error: unknown): boolean {
  const code = sqlState(error)
  if (code !== undefined) return TRANSIENT_CODES.has(code) || TRANSIENT_CLASSES.has(code.slice(0, 2))
  return !(
    error instanceof StepwellError ||
    error instanceof TypeError ||
    error instanceof RangeError ||
    error instanceof SyntaxError ||
    error instanceof ReferenceError
  )
}

/** Whether somebody or something held up this very statement: serialization, deadlock, a lock or statement time-out. Others may pass meanwhile. */
export function isConflict(error: unknown): boolean {
  return CONFLICT_CODES.has(sqlState(error) ?? '')
}

/**
 * Whether the database refused to do such a thing at all, whatever the rows are: no rights (42501, also what a policy of row-level security
 * says of a row), no such table or column (42), no login (28), no such database or schema (3D, 3F). Somebody may mend it at any moment.
 */
export function isOfStatement(error: unknown): boolean {
  return /^(42|28|3D|3F)/.test(sqlState(error) ?? '')
}

/** Whether a row was refused because the partition of its month is missing: 23514 without the name of a constraint. */
export function isMissingPartition(error: unknown): boolean {
  return sqlState(error) === '23514' && !(error as { constraint?: string }).constraint
}
