"""Groups of words that tell kinds of prompts apart before anything was trained on them (their counts are features).

Chosen by hand from what the words mean, not from any data set. Part of the features' version: see features.FEATURES.
"""

from __future__ import annotations

MARKERS: dict[str, str] = {
    "asking which": "which whichever",
    "asking what": "what whats",
    "asking how": "how",
    "asking why": "why explain reason reasons",
    "asking who, when, where": "who whom whose when where",
    "negation": "not except false incorrect never no none nor neither cannot isn't without",
    "degree": "most best least greatest highest lowest likely primarily mainly largest smallest",
    "truth": "true correct statement statements following above below",
    "calculation": "calculate compute find determine solve evaluate estimate approximate approximately round",
    "proof": "prove proof show derive theorem lemma hence therefore thus",
    "supposing": "if suppose assume given let consider assuming then",
    "algebra": "equation polynomial integer integers function matrix vector ring group field graph prime sum product "
    "squared root real complex divisible modulo x y n",
    "probability": "probability random sample mean variance distribution standard deviation percent percentage average",
    "units": "kg km cm mm m s g mol volts volt ohm amps watt hz ev mev kpa atm joule joules celsius feet inches miles "
    "hours minutes seconds per mph gallons",
    "physics": "energy mass velocity force field charge current wave light temperature pressure speed acceleration "
    "electron magnetic gas heat circuit",
    "chemistry": "reaction acid solution bond molecule atom element compound ion oxide carbon hydrogen oxygen",
    "life": "cell cells gene genes dna protein species organism plant animal evolution blood bacteria",
    "medicine": "patient disease symptoms treatment clinical muscle nerve drug pain diagnosis infection physician",
    "law": "court law plaintiff defendant statute contract legal rights state constitution liability tort evidence",
    "history": "century war king government political president revolution policy states united treaty empire",
    "economics": "price demand market supply cost firm income tax interest rate money goods trade bank",
    "business": "company business management customer employees marketing product corporate advertising",
    "mind": "person people social behavior psychology children theory cognitive learning memory personality",
    "thought": "moral argument philosophy ethics belief knowledge truth kant utilitarianism reason premise",
    "code": "def return import class int void print code python program algorithm array string list const var "
    "public static null loop stack compile",
    "people": "he she his her him man woman boy girl mother father",
    "you and i": "i you my your we our me us",
    "making": "write create generate compose story poem essay draft rewrite design make",
    "handling": "summarize summarise translate extract classify paraphrase edit list describe compare convert",
    "answering": "answer question choices options choose select option",
    "grammar": "the a an of in to and is are was were for on with as by that this it",
    "hedging": "may might could would should can will",
    "order": "first second third next last before after left right between one two three",
}
