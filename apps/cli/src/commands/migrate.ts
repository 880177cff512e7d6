import { migrateToLatest } from '@stepwell/storage'
import { type CommandContext, writeLines } from '../command.ts'

/** Brings the database up to date. */
export async function migrate(context: CommandContext): Promise<void> {
  const schema = context.env.STEPWELL_SCHEMA
  const report = await migrateToLatest({
    connectionString: context.connections.databaseUrl(),
    ...(schema === undefined ? {} : { schema }),
  })
  const list = (names: readonly string[], none: string): string =>
    names.length === 0 ? none : names.join(', ')
  await writeLines(context, [
    `migrations: ${list(report.applied, 'up to date')}`,
    `indexes: ${list(report.indexes, 'up to date')}`,
    `partitions: ${list(report.partitions, 'up to date')}`,
  ])
}
