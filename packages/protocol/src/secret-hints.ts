// What a text must hold to be worth a closer look for secrets. Nearly all texts hold nothing of it (harmless-text.ts tells most of them, faster),
// and attributes may be long: so each hint begins with a letter that is rare in texts and looks back from there, and the engine skips from one such letter to
// the next (1 KiB of prose: 0.5 µs; 5 µs as one pattern of all the words). Sixteen letters at a time, as long as they begin with few: with the six that
// the words begin with in one pattern it takes three times as long.

/** Hints as they are written here: what stands before a ^ is looked for backwards. `anyCase`: in any case. `behind`: what follows each, if that counts. */
function hints(words: string, { anyCase, behind = '' }: { anyCase: boolean; behind?: string }): RegExp {
  const cased = (part: string): string =>
    anyCase
      ? part.replace(/\\.|\[(.*?)\]|[a-z]/g, (found, set = found) =>
          found.startsWith('\\') ? found : `[${set.replace(/[^a-z]/g, '').toUpperCase()}${set}]`,
        )
      : part
  const sources = words.split(' ').map((word) => {
    const [before, after] = word.split('^').map(cased)
    return after === undefined ? before : `${after}(?<=${before}${after})`
  })
  const pattern = new RegExp(`(?:${sources.join('|')})${cased(behind)}`)
  // The engine fits its code to the text that it meets at the second time. To one full of these letters it fits worse code, three
  // times slower for all that come later.
  for (let i = 0; i < 3; i++) for (const text of ['', '\u2028']) pattern.test(text)
  return pattern
}

const WORDS = hints('pass[pw] pwd se^cret to^ken [_istegndh-]^key coo^kie credential', { anyCase: true })
const MORE_WORDS = hints('bearer basic di^gest authori^zation', { anyCase: true })
const FORMS = hints(
  String.raw`ey^J[\w-]{2} AKIA ASIA ABIA ACCA AIza gh[opsur]_ github_pat_ glpat- xox xapp- s^k-[\w-]{2} pypi- SG\. -----BEGIN (?:npm|hf|whsec|dop_v1|lin_api|shp[a-z]{2}|[rs]k_(?:live|test))^_[\w-]{2}`,
  { anyCase: false },
)

const NAMES = hints(
  'password passwd passphrase pwd se^cret credential authori^zation coo^kie to^ken(?!s|iz) (?:api|access|secret|private|signing|encryption|account|shared|auth)[_-]?^key',
  { anyCase: true, behind: String.raw`(?:[_-]?(?:key|value|hash|id))?\\?["']?\s{0,4}[=:]` },
)

/** Whether a text holds a word that secrets stand behind (`password`, `bearer`). */
export const hasWordHint = (text: string): boolean => WORDS.test(text) || MORE_WORDS.test(text)

/** Whether a text holds how the tokens of a known kind, or a private key, begin. */
export const hasFormHint = (text: string): boolean => FORMS.test(text)

/** Whether it holds the name of a secret and a sign behind it (`password=`, `"api_key": `): where words are that is asked in a third of the time that looking for what follows takes. */
export const hasName = (text: string): boolean => NAMES.test(text)
