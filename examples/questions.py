"""What people ask: the material of the demo's workload, by topic. ``workload.py`` makes calls of it.

A topic is a list of templates and the things that fill their ``{}``; every combination is a sentence somebody might
send. The rest stands as it is: single questions, conversations, documents, tools, pictures.
"""

from __future__ import annotations

from typing import Any

TOPICS: dict[str, tuple[list[str], list[str]]] = {
    "cooking": (
        [
            "I have {} left over from Sunday. What can I cook for two people in twenty minutes?",
            "Can I freeze {}, and how long will it keep?",
            "Something warm with {} for a lunch box? My daughter is picky, and there is no microwave at school.",
        ],
        ["half a roast chicken", "two cups of cooked rice", "a jar of roasted peppers", "a head of cauliflower"],
    ),
    "travel": (
        [
            "We land in {} at seven in the evening with two tired children. How do we best get into town?",
            "What would you do with one rainy day in {} if you had seen the obvious sights already?",
            "Is a week in {} in early March a good idea without a car?",
        ],
        ["Lisbon", "Kraków", "Busan", "Montréal", "Valparaíso"],
    ),
    "databases": (
        [
            "Postgres: what is the safest way to {} on a table with 400 million rows while it is being written to?",
            "I have to {} this weekend without downtime. What does a careful plan look like, step by step?",
        ],
        [
            "add a NOT NULL column with a default",
            "delete everything older than 90 days",
            "change an integer key to bigint",
            "build a partial index",
        ],
    ),
    "python": (
        [
            "In Python, how do I {} without holding the whole file in memory?",
            "Write a small, typed Python function to {}, with two doctests.",
            "Code review: a colleague wants to {} with threads. Is asyncio any better here, and why?",
        ],
        [
            "merge two sorted CSV files by timestamp",
            "find duplicate records in a 30 GB JSON-lines file",
            "count words per document in a zip archive",
            "follow a log file that is rotated at midnight",
        ],
    ),
    "small business": (
        [
            "Draft a friendly but firm e-mail to a customer who {}. At most 120 words, no legal threats.",
            "A customer {}. What are our options, and what would you write first?",
        ],
        [
            "has not paid an invoice that was due six weeks ago",
            "wants a refund for a bespoke lampshade",
            "left a one-star review about a delivery we did not make",
            "keeps changing an order after production has started",
        ],
    ),
    "maths": (
        [
            "Explain {} to a bright fifteen-year-old, with one picture described in words.",
            "What is a common misunderstanding about {}, and a short example that clears it up?",
            "Give me three exercises on {}, from easy to hard, with solutions at the end.",
        ],
        ["Bayes' rule", "why 0.999… equals 1", "modular arithmetic", "the chain rule", "standard error"],
    ),
    "home repair": (
        [
            "There is {}. What should I check before I call somebody, and what must I not touch?",
            "How urgent is {}, honestly? We are away for two weeks from Friday.",
        ],
        [
            "a brown stain growing on the ceiling under the bathroom",
            "a circuit breaker that trips every time the oven and the kettle run together",
            "a radiator that is hot at the bottom and cold at the top",
            "a faint smell of gas near the meter that comes and goes",
        ],
    ),
    "gardening": (
        [
            "The leaves of my {} are turning yellow from the bottom up. Too much water or too little?",
            "When and how hard do I prune my {} in a place with late frosts?",
        ],
        ["tomatoes", "blueberry bushes", "lemon tree in a pot", "old apple tree", "climbing roses"],
    ),
    "tenancy": (
        [
            "My landlord wants to {}. I rent in Berlin since 2017. What is he allowed to do, in plain words?",
            "Which questions should I put to a tenants' association if the owner plans to {}?",
        ],
        ["raise the rent by 18 per cent", "enter the flat every month to inspect it", "sell the flat next year"],
    ),
    "language": (
        [
            "What is the difference between {}? Two example sentences for each, British English.",
            "I keep mixing up {}. Is there a rule of thumb?",
        ],
        [
            '"imply" and "infer"',
            '"fewer" and "less"',
            '"affect" and "effect"',
            '"may" and "might"',
            '"which" and "that"',
        ],
    ),
    "health habits": (
        [
            "I sit nine hours a day and {}. What is a realistic first step for the next two weeks?",
            "Is there good evidence that a daily walk helps people who {}, or is that just something people say?",
        ],
        ["sleep badly", "get headaches in the afternoon", "have a stiff neck", "snack when stressed"],
    ),
    "sky and sea": (
        [
            "My six-year-old asks: {} I would like an answer that is true and fits into four sentences.",
            "{} Please give the short answer first, and then the physics.",
        ],
        [
            "Why does the moon follow our car?",
            "Why is the sea salty when the rivers are not?",
            "How do astronauts know which way is up?",
            "Why do stars twinkle and planets don't?",
        ],
    ),
}

# Questions that are not English, as people wrote them.
ELSEWHERE: list[str] = [
    "Wie lange kann ich gekochte Kartoffeln im Kühlschrank aufheben, und woran merke ich, dass sie schlecht sind?",
    "Formuliere bitte eine kurze Absage an einen Bewerber, freundlich und ohne Floskeln.",
    "Quelle est la différence entre un CDD et une mission d'intérim pour un étudiant étranger ?",
    "Peux-tu m'expliquer le théorème de Pythagore avec un exemple tiré de la menuiserie ?",
    "¿Cómo quito una mancha de vino tinto de un mantel de lino antiguo sin estropearlo?",
    "Necesito un correo para pedir una prórroga de dos semanas en la entrega del trabajo final.",
    "Qual è il modo migliore per conservare il basilico fresco in estate?",
    "Me explica a diferença entre juros simples e compostos com um exemplo de poupança em reais?",
    "Jak zacząć biegać po czterdziestce, jeśli od dziesięciu lat nie uprawiałem żadnego sportu?",
    "Komşumun köpeği geceleri sürekli havlıyor. Kibar ama net bir not yazar mısın?",
    "Чем отличается закваска от сухих дрожжей, и можно ли заменить одно другим в ржаном хлебе?",
    "東京で雨の日に小さな子どもと一日過ごせる場所を三つ教えてください。",
    "「お世話になっております」を英語のメールで自然に言い換えるにはどうすればいいですか。",
    "请用简单的话解释一下什么是通货膨胀,最好举一个菜市场的例子。",
    "我想把一段 Python 代码改成异步的,应该先从哪里开始?",
    "한국어 존댓말과 반말을 언제 바꿔도 되는지 외국인에게 설명해 주세요.",
    "ما الفرق بين القهوة العربية والقهوة التركية من حيث التحضير؟",
    "मेरे दादाजी को स्मार्टफ़ोन पर वीडियो कॉल करना कैसे सिखाऊँ, आसान शब्दों में बताइए।",
    "Wie erkläre ich meiner Oma, was eine Zwei-Faktor-Anmeldung ist und warum ihre Bank das will?",
    "Mein Chef duzt mich plötzlich. Muss ich zurückduzen?",
    "Comment refuser poliment une invitation sans inventer d'excuse ?",
    "¿Qué hago si el vecino de arriba riega las plantas y me cae el agua en el balcón?",
    "Mi spieghi la differenza tra passato prossimo e imperfetto con due frasi?",
    "Como responder a um cliente que reclama do prazo de entrega com educação?",
    "Czy można zamrozić pierogi przed ugotowaniem, i jak je potem gotować?",
    "電車の遅延で会議に遅れるとき、短くて失礼のない連絡文を作ってください。",
    "Hoe leg ik een kind van acht uit waarom we belasting betalen?",
    "Hur vet jag om svampen i skogen är en kantarell eller en falsk kantarell?",
]

# Conversations: the turns so far (user first, in turn with the assistant), and ways in which it may go on.
CONVERSATIONS: list[tuple[list[str], list[str]]] = [
    (
        [
            "I want to replace my gas boiler. House from 1974, 140 m², radiators. Is a heat pump even possible?",
            "Often yes. What matters is the flow temperature your radiators need on the coldest days. Do you know it?",
            "It is set to 65 degrees, but I have never tried less.",
            "Then try 55 for a week of frost. If the rooms stay warm, a heat pump will do without new radiators.",
        ],
        [
            "We tried: 55 is fine except in the bathroom. What now?",
            "And what would that do to my bill if electricity costs 32 cents and gas 11?",
            "My installer says it never works in old houses. What should I answer?",
        ],
    ),
    (
        [
            "My sourdough is flat and sour.",
            "How long is the bulk rise, and how warm is your kitchen?",
            "Overnight, about twelve hours. It is 26 °C here in summer.",
            "That is long for 26 °C: it is over-proofed. Stop when it has grown by half, perhaps after five hours.",
        ],
        ["It grew by half after four. Do I bake at once?", "Can I slow it down in the fridge instead, and when?"],
    ),
    (
        [
            "We have a Django app on one server. Marketing expects ten times the traffic on Monday.",
            "What does a page do that is slow today, and what does it need from the database?",
            "Product pages make about 40 queries. No cache.",
            "Then cache whole pages for visitors who are not logged in, and look at select_related first of all.",
        ],
        [
            "Prices change every ten minutes. Does whole-page caching still make sense?",
            "We found an N+1 in the reviews. Show me the pattern to fix it.",
            "Is it too late to put a CDN in front by Monday? It is Thursday afternoon.",
        ],
    ),
    (
        [
            "I have to give a speech at my sister's wedding and I hate speaking.",
            "Then make it three minutes: one story, one thing you admire in her, one wish. Which story comes to mind?",
            "She once drove six hours at night because I had locked myself out.",
        ],
        ["Can you make an opening of that, not soppy?", "I would like to end with something about her husband, Tomás."],
    ),
    (
        [
            "Can you check my reasoning? A coin came up heads eight times. I say tails is more likely now.",
            "For a fair coin each throw is independent: it is still one half.",
            "But eight times! Would you not at least suspect the coin?",
        ],
        [
            "So how many heads until I should suspect it?",
            "Show me the calculation with a prior of 1 in 1,000 for a trick coin.",
        ],
    ),
    (
        [
            "Our toddler wakes at five every day. We are finished.",
            "When does he go to bed, and how long is the nap?",
            "Bed at half past seven, nap two hours from noon.",
            "Try to shorten the nap to ninety minutes first, and keep the room dark until six.",
        ],
        [
            "Three days in, no change. When is it worth seeing somebody?",
            "He is two and a half. Should the nap go altogether?",
            "At my mother's he sleeps until seven. What does that tell us?",
        ],
    ),
    (
        [
            "My regex matches too much: I want the text between the first pair of quotes.",
            'Then make it lazy: "(.*?)" stops at the first closing quote.',
            "It still fails for quotes that are escaped with a backslash.",
            'Use "((?:[^"\\\\]|\\\\.)*)" then: anything but quote and backslash, or a backslash with what follows.',
        ],
        [
            "Why does that not backtrack for ever, when (.*)* does?",
            "How do I write this in Go, where the flavour is RE2?",
            "Would you rather use a real parser here? It is for CSV exports of a customer.",
        ],
    ),
    (
        [
            "I am 54 and would like to learn the cello. Is that silly?",
            "Not at all. What draws you to the cello, and can you read music?",
            "The sound. I sang in a choir for years, so yes, more or less.",
            "Then you have the hardest part already: an ear. Rent an instrument for half a year before you buy one.",
        ],
        [
            "How much should I practise if my left hand has some arthritis?",
            "Which pieces will still sound like music after six months?",
            "The rental contract counts towards buying. Is that usually a good deal?",
        ],
    ),
    (
        [
            "We are three founders and want to split the shares equally. Any objections?",
            "It can work. What happens if one of you leaves after eight months?",
            "We have not talked about that. We are friends.",
            "Then talk about it while you are. The usual answer is vesting: four years, with a cliff of one.",
        ],
        [
            "One of us works half-time until summer. How would vesting take that into account?",
            "Draft the two paragraphs I should send to the others, please, so that nobody feels accused.",
            "Is vesting common in Germany with a GmbH, or is that a US thing?",
        ],
    ),
]

# Paragraphs of documents; a long question strings several together.
REPORT: list[str] = [
    "At 02:14 UTC the primary database of the orders cluster stopped accepting writes. The on-call engineer was paged "
    "at 02:17 by the write-latency alert, not by the health check, which kept reporting a healthy node because it only "
    "issues a read. Replication lag on both replicas was below one second at that moment.",
    "The immediate cause was a full volume. A migration that had been started by hand at 22:40 the evening before "
    "rewrote the line_items table, and the write-ahead log that a stalled replication slot kept back grew by roughly "
    "1.1 GB a minute. The slot belonged to an analytics consumer that had been switched off in August.",
    "Disk alerts are set at 90 per cent of a volume. The volume went from 71 to 100 per cent in about forty minutes, "
    "and the alert did fire at 01:58, but into a channel that has been muted since the warehouse migration. Nobody "
    "was at fault here: the mute was agreed on, and its end date was not written down anywhere.",
    "Customers saw errors at checkout from 02:14 until 03:02. We estimate 3,180 lost carts. Payments that had been "
    "authorised before the outage were captured correctly afterwards; eleven were captured twice and refunded by hand "
    "the next morning after finance noticed the mismatch in the settlement file.",
    "Recovery took longer than it needed to. Dropping the stale slot freed the log only after a checkpoint, which the "
    "full disk prevented. The engineer finally grew the volume by 200 GB, waited for the file system to be resized, "
    "restarted the database and then dropped the slot. Each step is obvious in hindsight, and none was in the runbook.",
    "Three things went well. The read path stayed up throughout, so the shop could still be browsed. The status page "
    "was updated within ten minutes. And the new engineer on shadow duty kept a written timeline, without which this "
    "report would be guesswork.",
    "We propose to limit the log that a slot may keep back, to page on any slot without a consumer for a day, to make "
    "the health check write one row, and to forbid hand-started migrations on tables above ten million rows outside "
    "the change window. The last point is contested: two teams argue that the window is too narrow already.",
    "Open questions: why the capacity review in September did not list the slot; whether the double captures are a bug "
    "of ours or of the payment provider, whose support has answered twice with a form letter; and who owns the "
    "analytics consumer, since the team that wrote it no longer exists.",
]
MINUTES: list[str] = [
    "The committee of the allotment society met on the second of May in the club house; nineteen members were present, "
    "which makes a quorum. The chair apologised for the broken heating. The minutes of the last meeting were approved "
    "with one correction: the hedge on path four is 1.40 m, not 1.04 m.",
    "The treasurer reported an income of 11,430 and expenses of 12,905. The difference comes from the new pump and the "
    "water bill, which has doubled in two years. She proposed to raise the yearly fee by eight a plot. Mr Adeyemi "
    "asked whether the pump had been put out to tender. It had not, because of the drought; the chair took note.",
    "A long discussion followed about water. Ms Lindqvist proposed meters on every plot; she had obtained an offer of "
    "ninety-five a piece, fitted. Others feared quarrels. It was agreed to fit meters on the paths first, to see where "
    "the water goes, and to decide in autumn. Eleven for, five against, three abstentions.",
    "Four plots will be free in October: 12, 31, 32 and 58. The waiting list has 64 names. The committee was asked to "
    "find out whether plots 31 and 32, which are very shady, could be joined into one orchard that everybody looks "
    "after. Ms Okafor and Mr Braun volunteered to draw a plan by July.",
    "The wasps' nest at the tool shed has been removed by a specialist. The children's day will be on the eighth of "
    "July; the bouncy castle was voted down for reasons of insurance, and in its place there will be a treasure hunt. "
    "Cakes to Ms Petrova, please, with a list of ingredients because of the allergies last year.",
    "Any other business: the gate must be locked after eight in the evening; somebody has again put glass into the "
    "compost; and the society will write to the city about the felled lime trees. The meeting closed at 21:30.",
]
ON_REPORT = [
    "Summarise this incident report for people who were not there, in five bullet points.",
    "Which of the proposed measures would have prevented this outage, and which would only have shortened it?",
    "What is missing from this report that you would expect from a good post-mortem?",
    "Write the message to customers that should have gone out at 02:30, given what is said here.",
]
ON_MINUTES = [
    "List who promised to do what, with dates where there are any.",
    "Turn these minutes into a notice of at most 150 words for the board by the gate.",
    "Which decisions were taken, and with what majority?",
]

# Things to be read out of short texts, as JSON.
EXTRACT = "Read name, date (ISO), amount and currency out of this text. Answer with one JSON object only:\n\n{}"
SNIPPETS = [
    "Hi, it's Marta Nowak again. I paid the 249,90 € for the course on 3 March but got no confirmation.",
    "Invoice 2231, Okonkwo & Sons, dated 17.11.2024, total due GBP 1,180.00 within 30 days.",
    "Reçu de Mme Claire Dubois la somme de 75 euros pour la chorale, le 9 janvier 2025.",
    "Transferred $4,300 to J. Ramirez last Friday (June 6th, 2025) for the roof, balance to follow.",
    "Booking for Sato Kenji, two nights from 2025-04-28, ¥38,000 in all, paid on arrival.",
    "Bitte 120 Franken an den Turnverein überweisen, Rechnung vom 1. Juli 2025, Absender: R. Ammann.",
    "Deposit of 500 AUD received from Priya Nair on the 12th of December 2024, thanks!",
    "Thank you, Ms Halvorsen! 1 250 kr for the cabin, received on 14 August 2025.",
    "Ricevuto da Paolo Greco un acconto di € 320,00 in data 5/9/2025 per la bicicletta.",
    "From: T. Nguyen. Paid 65 CHF for the parking space in May, on the 2nd (2025).",
    "Donation: Anonymous, 20.00 GBP, 24 December 2024, for the soup kitchen.",
    "Wpłata 310 zł od Jana Kowalskiego, 21 lutego 2025, za naukę pływania.",
    "Ms. Achieng sent KES 4,500 through the app on 2025-07-30; she asks for a receipt.",
    "Refund: 18.40 EUR to Ms. L. de Vries, processed 2025-02-28 (order 88-104).",
]

# Tools that an assistant of a web shop has, and what makes somebody need them.
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Look up an order by its number or by the customer's e-mail address.",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "string"}, "email": {"type": "string"}},
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "delivery_slots",
            "description": "Free delivery slots for a post code in the next seven days.",
            "parameters": {
                "type": "object",
                "properties": {"post_code": {"type": "string"}, "evening_only": {"type": "boolean"}},
                "required": ["post_code"],
            },
        },
    },
]
TOOL_QUESTIONS: list[tuple[str, str, dict[str, Any]]] = [  # what is asked, the tool it needs, and with what
    ("The tracking page of 70-1150 has not moved for five days.", "find_order", {"number": "70-1150"}),
    ("Did you get my return? I sent it from lena@example.net's account.", "find_order", {"email": "lena@example.net"}),
    ("Do you come to 6020 Innsbruck on Saturdays?", "delivery_slots", {"post_code": "6020"}),
    ("My order 70-1199 says delivered, but there is nothing here.", "find_order", {"number": "70-1199"}),
    ("Where is my parcel? The order number is 70-1184.", "find_order", {"number": "70-1184"}),
    ("I ordered two lamps on Sunday as jo@example.org and only one came.", "find_order", {"email": "jo@example.org"}),
    (
        "Can you deliver to 10437 after six, any day this week?",
        "delivery_slots",
        {"post_code": "10437", "evening_only": True},
    ),
    ("Please cancel order 70-1203, I clicked twice.", "find_order", {"number": "70-1203"}),
    ("When could the sofa reach 8004 Zürich?", "delivery_slots", {"post_code": "8004"}),
    ("Has 70-0991 left your warehouse yet? It is a birthday present.", "find_order", {"number": "70-0991"}),
    ("Which mornings are free for 28195 Bremen?", "delivery_slots", {"post_code": "28195"}),
    ("I can't find my order. My address is kim.tran@example.com.", "find_order", {"email": "kim.tran@example.com"}),
    ("Could the table for order 70-1177 come in the evening?", "find_order", {"number": "70-1177"}),
    (
        "What are the slots for 1012 in Amsterdam if I am at work all day?",
        "delivery_slots",
        {"post_code": "1012", "evening_only": True},
    ),
]

PICTURE_QUESTIONS = [
    "This is a photo of my meter cupboard. Which of these is the gas meter?",
    "Is this mole something to show a doctor, or does it look harmless to you?",
    "What does the third line of this receipt say?",
    "Can you read the serial number on this label?",
    "Which plant is this, and does it want more light than it gets here?",
    "This chart is from our board deck. What is misleading about it?",
    "My son's homework, photographed. Where did he go wrong in part b?",
    "Would this shelf hold forty kilos of books, from what you can see of the brackets?",
    "Whiteboard photo from this morning: please make a clean list of it.",
    "Is this rash typical of nettles? It appeared an hour after a walk.",
    "Which of the two paint samples is warmer?",
    "Describe this picture for somebody who cannot see it, in two sentences.",
]
