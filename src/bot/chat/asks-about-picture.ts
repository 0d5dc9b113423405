// Does somebody ask about a picture? In: what they typed. Out: how sure one can be without understanding it.
// It knows nothing of messages or of which pictures there are.

/**
 * - `names`: a picture is named: "这张图里是什么", "what is in this photo"
 * - `points`: something is pointed at that is not in the words: "这是什么", "who is that?"
 * - `no`: neither, as far as one can tell
 */
export type PictureQuestion = "names" | "points" | "no";

/** 意图, 地图 and the like are words of their own. */
const PICTURE =
  "(?:(?<![意企试蓝版力视导插构示地路贪])图片?|照片|相片|截图|表情包?|画面|动图)(?![书形灵纸标谱案])";

const NAMES: readonly RegExp[] = [
  // 这张图, 上面那个截图, 刚才的照片, 我发的图
  new RegExp(
    `(?:这|那|上面|前面|刚才|刚刚|刚|发)(?:的|一|个|张|幅|些|几|两|三|四|组|\\s)*${PICTURE}`,
    "u",
  ),
  // 图里, 照片中, 截图上的内容
  new RegExp(`${PICTURE}(?:里|中|上(?![传市班])|内|的内容|写了|是什么|是谁)`, "u"),
  // 描述一下图片, 看看图, 识别图片, 翻译一下截图
  new RegExp(`(?:描述|看看|看下|识别|解释|分析|翻译|识)(?:一下|下)?(?:这个|这|那)?${PICTURE}`, "u"),
  /^(?:[看识]图)[\s!！?？。~～]*$/u,
  /\b(?:this|that|the|my|these|those) (?:\w+ )?(?:picture|image|photo|pic|screenshot|sticker)s?\b/iu,
  /\bin the (?:picture|image|photo|pic|screenshot)\b/iu,
];

const POINTS: readonly RegExp[] = [
  // 这是什么, 这个是啥东西, 那是谁呀, 它是什么
  /^(?:请问|话说)?(?:这|那|它|他|她)(?:个|张|只|条|位|种|些|里|都|又|到底|究竟)*(?:是|写的|写着|写了|有|叫)?(?:个|的)?(?:什么|啥|谁|哪里|哪儿|哪位)(?:东西|玩意儿?|意思|动物|字|地方)?[啊呀呢吗嘛哦啦]*[\s?？!！。.~～]*$/u,
  /^(?:看看|看下|看一下|帮我看看|帮忙看看|认识|识别)(?:一下)?(?:这个?|那个?|它)?[啊呀呢吗嘛吧]*[\s?？!！。.~～]*$/u,
  /^(?:what|who|where)(?:'s|’s| is| are) (?:this|that|it|these|those|he|she|they)[\s?!.]*$/iu,
  /^(?:look at|describe|explain|identify) (?:this|that|it)[\s?!.]*$/iu,
];

/** Long questions say in words what they are about. */
const MAX_CHARACTERS = 200;

export function asksAboutPicture(text: string): PictureQuestion {
  const said = text.trim();
  if (said === "" || said.length > MAX_CHARACTERS) return "no";
  if (NAMES.some((pattern) => pattern.test(said))) return "names";
  return POINTS.some((pattern) => pattern.test(said)) ? "points" : "no";
}

const LOOKS: readonly RegExp[] = [
  // 它是什么颜色, 这是什么图形
  /^(?:请问)?(?:这|那|它|他|她)(?:个|张|只|条)?(?:是|有|什么|啥)*(?:颜色|形状|图形|样子|品种|牌子)(?:的)?[啊呀呢吗嘛]*[\s?？!！。.~～]*$/u,
  /^what (?:colou?r|shape) (?:is|are) (?:this|that|it|these|those|they)[\s?!.]*$/iu,
];

/** Does somebody ask how something looks that is not in the words? It may have been shown, or only been spoken of. */
export function asksHowItLooks(text: string): boolean {
  return LOOKS.some((pattern) => pattern.test(text.trim()));
}
