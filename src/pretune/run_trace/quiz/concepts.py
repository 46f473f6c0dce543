"""Questions that no run decides: what pre-training and fine-tuning are for, what Python shows, which strategy suits."""

from __future__ import annotations

from random import Random

from pretune.run_trace.quiz.template import Claim, Draft, Template
from pretune.trace_schema import Level, RunTrace


def _always(_trace: RunTrace) -> bool:
    return True


def _concept(id: str, level: Level, concept: str, section: str, draft: Draft) -> Template:
    def make(_trace: RunTrace, _rng: Random) -> Draft:
        return draft

    return Template(id, level, concept, section, _always, make, is_about_run=False)


_PRETRAINING = Draft(
    prompt="Labels are scarce, raw text is not. What does pre-training use the raw text for?",
    right=Claim(
        text="The network learns from the text itself, by predicting hidden words, before it sees any label.",
        why="The hidden word is the answer, so nobody has to write labels for this stage.",
    ),
    wrong=[
        Claim(
            text="It labels the raw text automatically, so that more labelled rows are at hand.",
            why="No labels of the task are made or needed; the words of the text are what is predicted.",
            misconception="takes pre-training for automatic labelling",
        ),
        Claim(
            text="It stores the texts, so that answers can be looked up in them later.",
            why="The weights keep regularities of the text; the model has no access to the texts when it predicts.",
            misconception="takes a model for a search index",
        ),
        Claim(
            text="It picks the learning rate and the size of the network for the task.",
            why="Those are settings; pre-training changes the weights.",
            misconception="mixes up training with the choice of settings",
        ),
    ],
    hints=["What is the right answer when a word of a sentence is hidden?", "Who had to write that answer down?"],
    solution=[
        "A hidden word is predicted, and the text has the answer: any text becomes training material.",
        "The weights that result are a better start for a task than random ones, if the text is related to it.",
    ],
)

_FINETUNING = Draft(
    prompt="Which sentence describes fine-tuning?",
    right=Claim(
        text="A pre-trained network is trained further on labelled rows of a task, often with a new head.",
        why="The weights begin where pre-training ended; only a new head, if the task needs one, begins anew.",
    ),
    wrong=[
        Claim(
            text="A network with random weights is trained on labelled rows until its loss is low.",
            why="That is training from scratch, the control of a run.",
            misconception="leaves out the pre-trained start",
        ),
        Claim(
            text="The labels of the training rows are corrected until the model fits them.",
            why="Labels stay as they are; the weights change.",
            misconception="mixes up weights and labels",
        ),
        Claim(
            text="The settings of a finished model are adjusted on the test rows.",
            why="Then the test would no longer show how the model does on new rows.",
            misconception="uses the test split for choices",
        ),
    ],
    hints=["Ask where the weights come from at the first step.", "And what is needed that raw text does not have."],
    solution=[
        "Fine-tuning = weights from pre-training + labelled rows of the task, often with a new head for its answers."
    ],
)

_PRINTED = Draft(
    prompt="A program calls `model.train(data)`, then `predictions = model.predict(test)`, then "
    "`print(predictions)`. What does "
    "it print?",
    right=Claim(
        text="What the model predicts for each text of test: a label with its probability.",
        why="predict gives one prediction for each text, and print shows what was given.",
    ),
    wrong=[
        Claim(
            text="The accuracy of the model on test.",
            why="An accuracy needs the right labels beside the predictions; they are compared in a step of their own.",
            misconception="takes predictions for an evaluation",
        ),
        Claim(
            text="The loss and accuracy of every epoch.",
            why="That is the history of the training, which train gives.",
            misconception="mixes up what train and predict give",
        ),
        Claim(
            text="Nothing, since predict only changes the model.",
            why="predict leaves the model as it is and returns its predictions.",
            misconception="expects predict to train the model",
        ),
    ],
    hints=[
        "Which function gave the value in predictions?",
        "What does that function get, and what does it return?",
    ],
    solution=[
        "train changes the weights; predict reads the texts of test and returns a label and a probability for each."
    ],
)

_NONE = Draft(
    prompt="The line `model.train(data)` ends with `AttributeError: 'NoneType' object has no attribute 'train'`. "
    "What happened?",
    right=Claim(
        text="model is None: the line that should have put a model there gave nothing.",
        why="None is the only value of NoneType. Often a function was used that has no return.",
    ),
    wrong=[
        Claim(
            text="data is empty or missing.",
            why="The message is about the object before the dot, which is model.",
            misconception="looks for the cause in the argument",
        ),
        Claim(
            text="The class of the model has no method with the name train.",
            why="Then the message would name that class instead of NoneType.",
            misconception="does not read which type the message names",
        ),
        Claim(
            text="The training ran, but it returned no result.",
            why="train was never called: the error comes while Python looks it up.",
            misconception="takes a failed look-up for a failed call",
        ),
    ],
    hints=["Which object is to the left of the dot?", "Which value has the type NoneType, and where was model set?"],
    solution=[
        "Python looks for train in the object that model names, and that object is None.",
        "Go to the line that sets model, print it there, and check that its function returns the model.",
    ],
)

# As measured in docs/chat.md: at small, equal budgets fine-tuning alone was clearly best, from either base.
_CHATBOT = Draft(
    prompt="A clinic wants a chatbot for questions about medicines. It has a general language model, three million "
    "pages of medical text without labels, 5,000 questions with checked answers, and one computer for an hour. Which "
    "strategy suits this budget best?",
    right=Claim(
        text="Fine-tune the general model on the 5,000 checked answers for the whole hour.",
        why="Only the answers show the task. Measured with small, equal budgets on medical conversations, this was "
        "clearly better than pre-training further first.",
    ),
    wrong=[
        Claim(
            text="Use the general model as it is.",
            why="It has seen none of the checked answers, and wrong answers about medicines do harm.",
            misconception="expects a general model to suit every field",
        ),
        Claim(
            text="Train a new network from scratch on the medical pages and answers.",
            why="It would have to learn the language again, which an hour is too short for.",
            misconception="takes more training for better training",
        ),
        Claim(
            text="Pre-train the general model further on the pages for half an hour, then fine-tune it on the answers.",
            why="Half an hour reads a small part of the pages, and leaves half as much for the answers. It may pay "
            "with a budget that is large enough for both.",
            misconception="uses all data, although the budget is too small for all of it",
        ),
    ],
    hints=[
        "The hour is shared: time that goes to one text is missing for the other.",
        "Which of the texts show how a question is answered?",
    ],
    solution=[
        "With a small budget, spend it on the answers, beginning from the general model.",
        "With days instead of an hour, pre-training further on so many pages may pay. Compare both on held-out "
        "questions before you choose, and let a person check answers about health.",
    ],
)

_SPLITS = Draft(
    prompt="Why is the test split used only once, at the end, while the validation split is used after every epoch?",
    right=Claim(
        text="Choices are made with validation; a split that was used for choices no longer shows how new texts will "
        "do.",
        why="The best of several epochs on some rows is, in part, the luckiest on these rows.",
    ),
    wrong=[
        Claim(
            text="The test split is larger, so it would take too long.",
            why="Time is not the reason; a small test split is used once as well.",
            misconception="takes the rule for a question of time",
        ),
        Claim(
            text="The model trains on the test split at the end.",
            why="No model trains on test rows.",
            misconception="takes the test for training material",
        ),
        Claim(
            text="Accuracy can be computed only when training is over.",
            why="It can be computed at any step, which is what validation does.",
            misconception="takes accuracy for a property of a finished training",
        ),
    ],
    hints=[
        "What is decided with the validation figures?",
        "What would happen to a figure after a hundred looks at it?",
    ],
    solution=[
        "Whoever picks the best of many on some rows gets a figure that is too good there. The test stays out of it."
    ],
)

_LEAKED = Draft(
    prompt="Documents that share long passages with test texts are removed before pre-training, although they have "
    "no labels. Why?",
    right=Claim(
        text="The model could have memorised test texts, and its test accuracy would say less about new texts.",
        why="A text that was read in training is easier, with or without its label.",
    ),
    wrong=[
        Claim(
            text="They would make the vocabulary too large.",
            why="A few documents change the vocabulary hardly at all.",
            misconception="looks for a technical reason",
        ),
        Claim(
            text="Without labels they cannot be used in pre-training.",
            why="Pre-training needs no labels.",
            misconception="takes pre-training for training with labels",
        ),
        Claim(
            text="They would raise the loss of pre-training.",
            why="Repeated text lowers the loss, if anything.",
            misconception="expects repeated text to be harder",
        ),
    ],
    hints=[
        "What should a test accuracy tell you about?",
        "Is a text that the network has read before a fair question?",
    ],
    solution=["A test must consist of texts that no stage has read. Removing what overlaps keeps it so."],
)

_SEEDS = Draft(
    prompt="Two trainings with the same data and settings, but another seed, end at 84.1 % and 85.3 % on the same "
    "test. What follows?",
    right=Claim(
        text="Seeds alone move the figure by about a point here, so a gain of a point needs more seeds to be believed.",
        why="The seed sets the order of rows and the first weights; nothing else was changed.",
    ),
    wrong=[
        Claim(
            text="The second seed is the better one, and should be used for all later trainings.",
            why="A seed that was lucky once is no better the next time.",
            misconception="takes luck for quality",
        ),
        Claim(
            text="One of the trainings has a mistake, since the same settings give the same result.",
            why="The same settings with the same seed do; another seed is another order and another start.",
            misconception="expects training not to depend on chance",
        ),
        Claim(
            text="The test has too many rows.",
            why="More rows make the interval narrower, not wider.",
            misconception="expects more rows to add noise",
        ),
    ],
    hints=["What does a seed change?", "How large would a gain have to be, to stand out from such differences?"],
    solution=[
        "The spread over seeds is a yardstick: a difference within it may be chance. Report several seeds and their "
        "mean."
    ],
)

TEMPLATES = (
    _concept("C-PRETRAINING", "easy", "what pre-training is for", "flow", _PRETRAINING),
    _concept("C-FINETUNING", "easy", "what fine-tuning is", "flow", _FINETUNING),
    _concept("C-SPLITS", "easy", "validation and test", "training", _SPLITS),
    _concept("C-PRINTED", "medium", "what predict returns", "prediction", _PRINTED),
    _concept("C-NONE", "medium", "an error message of Python", "methods", _NONE),
    _concept("C-LEAKED", "medium", "test texts in the corpus", "flow", _LEAKED),
    _concept("C-CHATBOT", "hard", "which strategy suits", "help", _CHATBOT),
    _concept("C-SEEDS", "hard", "seeds", "help", _SEEDS),
)
