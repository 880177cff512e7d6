import { InvalidInputError } from '@stepwell/protocol'
import { sql } from 'kysely'
import { type Database, qualified } from './database.ts'
import { signed } from './failure-marks.ts'

/** Most UTF-16 units of a note. */
export const NOTE_MAX_LENGTH = 4_000

/**
 * Keeps a note on a group of failures, "what fixed it"; it replaces the one that is there, and null removes it. The id is that of the group, or of one of its
 * patterns: 16 hexadecimal digits. Notes stay when groups become one: then there are several. Resolves after the commit; false
 * where there is no such group. Throws InvalidInputError for what is no id or no note.
 */
export async function setFailureGroupNote(
  { db, schema }: Database,
  groupId: string,
  note: string | null,
): Promise<boolean> {
  if (!/^[0-9a-f]{16}$/i.test(groupId))
    throw new InvalidInputError(`'${groupId}' is no id of a failure group: 16 hexadecimal digits are needed`)
  const text = note?.trim() ?? ''
  if (note !== null && (text === '' || text.includes('\0') || text.length > NOTE_MAX_LENGTH))
    throw new InvalidInputError(`a note has 1 to ${NOTE_MAX_LENGTH} characters, without NUL`)
  const group = await db
    .selectFrom('failure_patterns')
    .select('group_id')
    .where('pattern_id', '=', String(signed(groupId)))
    .executeTakeFirst()
  if (group === undefined) return false
  if (note === null) {
    // Whatever pattern of the group they were written to.
    const members = db
      .selectFrom('failure_patterns')
      .select('pattern_id')
      .where('group_id', '=', group.group_id)
    await db.deleteFrom('failure_notes').where('pattern_id', 'in', members).execute()
    return true
  }
  await sql`
    insert into ${sql.table(qualified(schema, 'failure_notes'))} (pattern_id, updated_at, note)
    values (${group.group_id}, ${new Date().toISOString()}, ${text})
    on conflict (pattern_id) do update set updated_at = excluded.updated_at, note = excluded.note`.execute(db)
  return true
}
