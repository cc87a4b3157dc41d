"""The course: what checks a student's function in `notebooks/assignments`, and grades a folder of submissions.
Here live one file an assignment, with its questions and its typical mistakes, and what runs them within a time limit.
Not here: the assignments' texts and solutions (`notebooks/assignments/master`), which are otter-grader's masters."""
