import type { Pool } from 'pg'
import type { Statement } from '../recorded-statements.ts'

interface Node {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  'Actual Loops': number
  Plans?: Node[]
}

/** The plan of a statement in a line: which indexes it reads, which tables from end to end, and how many pages. */
export async function planOf(pool: Pool, { text, values }: Statement): Promise<string> {
  // A cursor is explained as what it is declared for.
  const select = text.replace(/^\s*declare .*? for\b/is, '')
  const { rows } = await pool.query<{
    'QUERY PLAN': [{ Plan: Node & Record<string, number>; 'Execution Time': number }]
  }>(`explain (analyze, buffers, format json) ${select}`, values)
  const [{ Plan, 'Execution Time': ms }] = (rows[0] as (typeof rows)[number])['QUERY PLAN']
  const scans = new Map<string, number>()
  for (const node of nodesOf(Plan)) {
    if (!node['Node Type'].includes('Scan') || node['Actual Loops'] === 0) continue
    const name = `${node['Node Type']} ${monthless(node['Index Name'] ?? node['Relation Name'] ?? '')}`.trim()
    scans.set(name, (scans.get(name) ?? 0) + 1)
  }
  const list = [...scans].map(([name, times]) => (times === 1 ? name : `${times} × ${name}`)).join(', ')
  return `${list}; ${Plan['Shared Hit Blocks']} pages in memory, ${Plan['Shared Read Blocks']} read; ${ms.toFixed(1)} ms`
}

function nodesOf(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)]
}

const monthless = (name: string): string => name.replace(/_\d{4}_\d{2}/, '')
