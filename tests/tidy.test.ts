// The house rules, kept by a test. Each rule lists what breaks it: an empty list is the only good answer.
import { dirname, join, normalize } from 'node:path'
import { expect, it } from 'vitest'
import { files, importsOf, isTest, packageOf, packages, reachedFrom, sources, textOf } from './source-tree.ts'

/** Arrows between the packages: who may import whom at run time. Tests may import the testkit besides. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  'packages/protocol': [],
  'packages/client': ['packages/protocol'],
  'packages/storage': ['packages/protocol'],
  'packages/query': ['packages/protocol'],
  'packages/testkit': ['packages/storage'],
}
const APP_ARROWS = ['packages/protocol', 'packages/client', 'packages/storage', 'packages/query']

/** The only files of packages and apps that make connections; a file that is not there yet does no harm. */
const MAKE_CONNECTIONS = [
  'packages/client/src/redis-connection.ts',
  'packages/storage/src/database.ts',
  'packages/query/src/database.ts',
  'apps/worker/src/connections.ts',
  'apps/cli/src/connections.ts',
]

/** Entries that zod must not reach: what a producer loads is small. */
const FREE_OF_ZOD = [
  'packages/protocol/src/index.ts',
  'packages/protocol/src/failures.ts',
  'packages/protocol/src/statistics.ts',
  'packages/client/src/index.ts',
  'packages/client/src/testing.ts',
  'packages/client/src/bullmq.ts',
  'packages/client/src/http.ts',
]

/** Folders whose files are programs of their own or for people only. */
const OUTSIDE = /^(packages\/testkit|scripts|bench|examples|tests)\/|^vitest\.config\.ts$/
const LINES_MAX = 400

it('lets packages import only downwards', () => {
  const wrong = sources.flatMap((file) => {
    const own = packageOf(file)
    if (own === undefined) return []
    const below = ARROWS[own.folder] ?? APP_ARROWS
    const allowed = [own.folder, ...below, ...(isTest(file) ? ['packages/testkit', 'packages/storage'] : [])]
    return importsOf(file)
      .filter(({ target }) => target !== undefined && !allowed.includes(packageOf(target)?.folder ?? ''))
      .map(({ specifier }) => `${file} imports ${specifier}`)
  })
  expect(wrong).toEqual([])
})

it('lets packages import only what their package.json declares', () => {
  // What the root installs is for everybody's tests.
  const root = Object.keys(JSON.parse(textOf('package.json')).devDependencies)
  const wrong = sources.flatMap((file) => {
    const own = packageOf(file)
    if (own === undefined) return []
    const loose = own.folder === 'packages/testkit'
    const declared = [
      ...own.dependencies,
      ...(isTest(file) || loose ? [...own.devDependencies, ...root] : []),
    ]
    return importsOf(file)
      .filter(({ specifier }) => !/^(\.|node:)/.test(specifier))
      .filter(({ specifier }) => !declared.includes(nameOf(specifier)) && nameOf(specifier) !== own.name)
      .map(({ specifier }) => `${file} imports ${specifier}`)
  })
  expect(wrong).toEqual([])
})

it('keeps zod away from producers', () => {
  const reached = [...reachedFrom(FREE_OF_ZOD)]
  const wrong = reached.filter((file) =>
    importsOf(file).some(({ specifier, typeOnly }) => nameOf(specifier) === 'zod' && !typeOnly),
  )
  expect(wrong).toEqual([])
})

it('has no circle of imports', () => {
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' → '))
    if (done.has(file) || !sources.includes(file)) return
    done.add(file)
    for (const { target, typeOnly } of importsOf(file)) {
      if (target !== undefined && !typeOnly) visit(target, [...path, file])
    }
  }
  for (const file of sources) visit(file, [])
  expect(circles).toEqual([])
})

it('leads every import of ours to a file', () => {
  const wrong = sources.flatMap((file) =>
    importsOf(file)
      .filter(({ specifier, target }) =>
        target === undefined ? specifier.startsWith('@stepwell/') : !files.includes(target),
      )
      .map(({ specifier }) => `${file} imports ${specifier}`),
  )
  expect(wrong).toEqual([])
})

it('reads the environment only in config files', () => {
  const wrong = sources.filter(
    (file) =>
      !OUTSIDE.test(file) &&
      !isTest(file) &&
      !file.endsWith('/config.ts') &&
      code(file).includes('process.env'),
  )
  expect(wrong).toEqual([])
})

it('makes connections only where they are composed', () => {
  const wrong = sources.filter(
    (file) =>
      !OUTSIDE.test(file) &&
      !isTest(file) &&
      !file.endsWith('/main.ts') &&
      !MAKE_CONNECTIONS.includes(file) &&
      /\bnew\s+(\w+\.)?(Redis|Cluster|Pool|Client)\b/.test(code(file)),
  )
  expect(wrong).toEqual([])
})

it('names files after what is in them, in kebab-case', () => {
  const empty = /^(utils?|helpers?|common|managers?|base|core|misc|shared)$/
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.integration)?(\.test|\.config)?\.(ts|mjs)$/
  const wrong = sources.filter((file) => {
    const words = file.replace(/\.\w+$/, '').split(/[-./]/)
    const name = file.slice(file.lastIndexOf('/') + 1)
    return words.some((word) => empty.test(word)) || !(kebab.test(name) || file.startsWith('migrations/'))
  })
  expect(wrong).toEqual([])
})

it('exports by name', () => {
  const wrong = sources.filter(
    (file) => file !== 'vitest.config.ts' && /^export (\*|default\b)|\bas default\b/m.test(code(file)),
  )
  expect(wrong).toEqual([])
})

it('keeps a copy the same, where neither package may import the other', () => {
  const [ours, theirs] = ['query', 'storage'].map((name) =>
    textOf(`packages/${name}/src/answer-timeout.ts`).replace(/^.*\n/, ''),
  )
  expect(ours).toBe(theirs)
})

it('keeps files short', () => {
  const wrong = sources.filter((file) => textOf(file).split('\n').length - 1 > LINES_MAX)
  expect(wrong).toEqual([])
})

it('documents what the entries export', () => {
  const wrong = packages.flatMap(({ entries }) =>
    Object.values(entries).flatMap((entry) =>
      exportsOf(entry)
        .filter(({ file, name }) => !isDocumented(file, name))
        .map(({ file, name }) => `${name} of ${file}`),
    ),
  )
  expect(wrong).toEqual([])
})

it('has no file that nothing uses', () => {
  const programs = sources.filter(
    (file) =>
      /\.test\.ts$|^migrations\/|^scripts\/|^examples\/|^vitest\.config\.ts$|\/src\/main\.ts$/.test(file) ||
      file === 'bench/main.ts' ||
      file === 'bench/failure-groups.ts' ||
      file === 'packages/testkit/src/global-setup.ts',
  )
  const entries = packages.flatMap((one) => [...Object.values(one.entries), ...one.bins])
  const reached = reachedFrom([...programs, ...entries])
  expect(sources.filter((file) => !reached.has(file))).toEqual([])
})

it('has no test that is skipped, focused or tried again', () => {
  const wrong = sources.filter((file) =>
    /\b(it|test|describe)\.(skip|only|todo|fails)\b|^\s*retry:/m.test(code(file)),
  )
  expect(wrong).toEqual([])
})

it('has no dead link in its documents', () => {
  const wrong = files
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) => {
      const prose = textOf(file)
        .replace(/^```[\s\S]*?^```/gm, '')
        .replace(/`[^`\n]*`/g, '')
      const links = [...prose.matchAll(/\]\(([^()\s]+)\)/g)].map(([, link = '']) => link)
      return links
        .filter((link) => !/^[a-z]+:/.test(link) && !leadsSomewhere(file, link))
        .map((link) => `${file}: ${link}`)
    })
  expect(wrong).toEqual([])
})

it('names no machine and no registry', () => {
  const wrong = files
    .filter((file) => file !== 'pnpm-lock.yaml')
    .filter((file) => /\/(work|root)\/|registry[.]npmjs/.test(textOf(file)))
  expect(wrong).toEqual([])
})

/** The text without comments, roughly: what is about code must not hit a sentence. */
function code(file: string): string {
  return textOf(file).replace(/\/\*[\s\S]*?\*\/|(?<![:'"`\w])\/\/.*$/gm, '')
}

function nameOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

interface Exported {
  name: string
  /** The file that declares it. */
  file: string
}

function exportsOf(file: string): Exported[] {
  const text = textOf(file)
  const passedOn = [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '(\.[^']+)'/gm)].flatMap(
    ([, names = '', from = '']) =>
      names
        .split(',')
        .map((name) =>
          name
            .trim()
            .replace(/^type /, '')
            .replace(/ as .*/, ''),
        )
        .filter((name) => name !== '')
        .map((name) => declarationOf(name, normalize(join(dirname(file), from)))),
  )
  const own = [...text.matchAll(DECLARATION)].map(([, name = '']) => ({ name, file }))
  return [...passedOn, ...own]
}

function declarationOf(name: string, file: string): Exported {
  return exportsOf(file).find((one) => one.name === name) ?? { name, file }
}

const DECLARATION =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|const|let|interface|type|enum) ([A-Za-z_$][\w$]*)/gm

function isDocumented(file: string, name: string): boolean {
  const text = textOf(file)
  const declaration = [...text.matchAll(DECLARATION)].find(([, found]) => found === name)
  if (declaration === undefined) return false
  // One comment may stand for a list of values and the type of its items on the next line.
  const before = text
    .slice(0, declaration.index)
    .replace(/(\nexport .+)+\n$/, '')
    .trimEnd()
  return before.endsWith('*/') && before.slice(before.lastIndexOf('/*')).startsWith('/**')
}

function leadsSomewhere(file: string, link: string): boolean {
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? file : normalize(join(dirname(file), path)).replace(/\/$/, '')
  if (!files.includes(target)) return files.some((one) => one.startsWith(`${target}/`))
  if (anchor === undefined || !target.endsWith('.md')) return true
  const headings = [...textOf(target).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => slugOf(heading))
  return headings.includes(anchor)
}

// As GitHub makes anchors of headings.
function slugOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')
}
