import { addOverview, ByteWriter, RunRollup } from '@stepwell/protocol/statistics'
import type { Database } from '@stepwell/storage'

/** Makes a third of the overviews what a version before has written: bytes, and no sum. */
export async function writeOverviewsAsBefore({ pool }: Database, some: number): Promise<void> {
  const { rows } = await pool.query<{ width_s: number; bucket: Date; runs: string }>(
    `select width_s, bucket, runs from execution_rollup_overviews
      where runs is not null and extract(epoch from bucket)::bigint / width_s % 3 = $1`,
    [some],
  )
  const skills = rows.map(({ runs }) => {
    const all = new Map<string, RunRollup>()
    addOverview(runs, (skill) => {
      const own = new RunRollup()
      all.set(skill, own)
      return own
    })
    const writer = new ByteWriter()
    for (const [skill, own] of all) {
      const bytes = new ByteWriter()
      own.encode(bytes)
      writer.text(skill)
      writer.block(bytes.bytes())
    }
    return Buffer.from(writer.bytes())
  })
  await pool.query(
    `update execution_rollup_overviews o set skills = n.skills, runs = null, total = null
       from unnest($1::integer[], $2::timestamptz[], $3::bytea[]) as n(width_s, bucket, skills)
      where (o.width_s, o.bucket) = (n.width_s, n.bucket)`,
    [rows.map((row) => row.width_s), rows.map((row) => row.bucket), skills],
  )
}
