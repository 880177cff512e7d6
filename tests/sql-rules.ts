// The rules that keep `execution_traces` distributable (docs/ARCHITECTURE.md, "Postgres"), as a judgement over SQL text. What Citus
// refuses is refused there at run time only, so each statement that is issued has to be looked at.

/** What Postgres knows that the text does not say. */
export interface Catalogue {
  /** Functions by name: the least settled of those that share it, as pg_proc.provolatile has it. */
  volatility: ReadonlyMap<string, 'i' | 's' | 'v'>
  /** Columns whose default is not immutable, by table: an insert that leaves one out has its value made by a server. */
  madeByServer: ReadonlyMap<string, readonly string[]>
}

/** What is left of a statement when texts and comments are taken out: lower case, one space, no quotes. */
export function plainSql(statement: string): string {
  return statement
    .replace(/--.*$/gm, ' ')
    .replace(/\/\*[\s\S]*?\*\//g, ' ')
    .replace(/'(?:[^']|'')*'/g, "''")
    .replace(/"/g, '')
    .replace(/\s+/g, ' ')
    .trim()
    .toLowerCase()
}

// Functions that are called without brackets.
const SERVER_TIMES = /\b(current_(date|time|timestamp)|localtime(stamp)?)\b/g
const UPSERT = /\bon conflict \(([^)]*)\) do update set (.*?)(?: returning (.*))?$/
const INSERT = /^insert into (?:[a-z_]\w*\.)?([a-z_]\w*)(?: as \w+)? \(([^)]*)\)/

/** Which rules a statement breaks; empty if none. */
export function brokenRules(statement: string, catalogue: Catalogue): string[] {
  const sql = plainSql(statement)
  const broken: string[] = []
  if (/\bxmax\b/.test(sql)) broken.push('xmax is asked for: a distributed table does not tell it')
  if (/^create (or replace )?(constraint )?(trigger|rule)\b/.test(sql)) broken.push('a trigger or a rule')
  if (!/^(with .*\(? ?)?(insert into|update|delete from|merge into)\b/.test(sql)) return broken

  for (const { name, volatility } of calls(sql, catalogue))
    if (volatility === 'v') broken.push(`volatile function ${name} in a write`)
    else if (volatility === 's' && !/^delete\b/.test(sql))
      broken.push(`${name} in a write: its value is made by the server`)

  const insert = INSERT.exec(sql)
  if (insert !== null) {
    const [, table = '', columns = ''] = insert
    const named = columns.split(',').map((column) => column.trim())
    for (const column of catalogue.madeByServer.get(table) ?? [])
      if (!named.includes(column))
        broken.push(`${table}.${column} is left to its default, which a server makes`)
  }
  const upsert = UPSERT.exec(sql)
  if (upsert !== null) {
    const [, key = '', set = ''] = upsert
    if (insert?.[1] === 'execution_traces' && key.replaceAll(' ', '') !== 'trace_id,started_at')
      broken.push(`on conflict (${key}): a unique key must hold trace_id and started_at`)
    if (/\bselect\b/.test(set)) broken.push('a sub-select in do update')
    if (set.includes('::') || /\bcast \(/.test(set))
      broken.push('a cast in do update: it may call any function')
    for (const { name, volatility } of calls(set, catalogue))
      if (volatility !== 'i') broken.push(`${name} in do update is not immutable`)
  }
  return broken
}

function calls(sql: string, { volatility }: Catalogue): { name: string; volatility: 'i' | 's' | 'v' }[] {
  const named = [...sql.matchAll(/\b([a-z_]\w*)\s*\(/g)].flatMap(([, name = '']) => {
    const found = volatility.get(name)
    // Not in pg_proc: a keyword or a table, for a function that is not there would have been an error.
    return found === undefined ? [] : [{ name, volatility: found }]
  })
  return [...named, ...(sql.match(SERVER_TIMES) ?? []).map((name) => ({ name, volatility: 's' as const }))]
}
